#pragma once
// Workspace: the centre of the window: one, two or four panes, each a slim header and one view's figure, drawn with Dear ImGui.
// It keeps only what is of the screen alone (splits, a drag under way); everything else it asks of and tells the WorkspaceHost,
// which the program implements. One frame costs the views' draw() and the primitives; nothing heavy happens here.
#include <array>
#include <memory>
#include <string>

#include "views/figure/imgui_sink.h"
#include "views/view.h"

namespace headscope::views {

class WorkspaceHost {
 public:
  virtual ~WorkspaceHost() = default;

  struct Pane {
    const View* view = nullptr;
    ViewInput input;
    std::shared_ptr<const ViewData> data;  // null: not there yet
    double progress = -1;                  // of the job that makes it; < 0: none runs
    std::string message;                   // shown in place of the figure; "" none
    std::string note;                      // shown under the figure: why it is not whole; "" none
    std::string action;                    // the one thing to do about message or note, a word to press; "" none
  };
  virtual int paneCount() const = 0;  // 1, 2 or 4
  virtual int maximised() const = 0;  // pane that fills the centre, -1: none
  virtual int focused() const = 0;
  /// Asked once a frame for each visible pane with the size of its figure, points: the place to start jobs for new data.
  virtual Pane pane(int index, Size size) = 0;
  virtual core::Selection hover() const = 0;  // from anywhere in the window; -1 where nothing
  virtual const Theme& theme() const = 0;
  virtual const TextMeasure& measure() const = 0;

  virtual void chooseView(int pane, const View& view) = 0;
  virtual void changeOptions(int pane, const core::ViewOptions& options) = 0;
  virtual void select(const core::Selection& selection) = 0;
  virtual void setHover(const core::Selection& hover) = 0;
  virtual void focusPane(int pane) = 0;
  virtual void toggleMaximised(int pane) = 0;
  virtual void exportPane(int pane) = 0;
  /// The message's action was pressed.
  virtual void resume(int pane) = 0;
};

/// Where panes are split, fractions of the centre.
struct WorkspaceSplits {
  double column = 0.385, leftRow = 0.42, rightRow = 0.64;
};

class Workspace {
 public:
  Workspace(ImGuiFonts& fonts, TextureSource& textures) : fonts_(fonts), sink_(fonts, textures) {}

  /// Inside a Dear ImGui frame; fills [0, size].
  void draw(WorkspaceHost& host, Size size);
  WorkspaceSplits& splits() { return splits_; }
  /// Where the figure of a pane was drawn last, in canvas points; empty when it was not.
  Rect figureRect(int pane) const { return figureRects_[static_cast<size_t>(pane)]; }
  /// The figure drawn last in a pane.
  const Figure& figure(int pane) const { return figures_[static_cast<size_t>(pane)]; }
  /// No selection under the mouse: to be told apart from head 0.0.
  static core::Selection nothing();

 private:
  void drawPane(WorkspaceHost& host, int index, Rect rect);
  void drawBody(WorkspaceHost& host, int index, Rect rect);
  /// A message in place of the figure, its action below it.
  Figure messageFigure(const WorkspaceHost& host, const std::string& message, Size size) const;
  void drawAction(WorkspaceHost& host, int index, Rect rect, const std::string& action);
  /// The note with its action behind it, on a line of its own.
  void drawNote(WorkspaceHost& host, int index, Rect rect, const WorkspaceHost::Pane& pane);
  void handleMouse(WorkspaceHost& host, int index, Rect rect, const WorkspaceHost::Pane& pane);
  void splitter(const char* id, Rect rect, bool isVertical, double& fraction, double extent);

  ImGuiFonts& fonts_;
  ImGuiSink sink_;
  WorkspaceSplits splits_;
  std::array<Rect, 4> figureRects_;
  std::array<Figure, 4> figures_;
  std::array<Pick, 4> under_;  // what the mouse was over in each, as of the frame before
  int hoveredPane_ = -1;
  int pointedPane_ = -1;  // the same as of the frame before
  bool isDragging_ = false;
  Point dragStart_;  // where the button went down, in the figure
  Pick dragPick_;    // and what was there
};

}  // namespace headscope::views
