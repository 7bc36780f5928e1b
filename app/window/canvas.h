#pragma once
// Canvas: the one OpenGL widget, with the one Dear ImGui context, and the one class that knows both Qt and Dear ImGui. It
// translates events, keeps fonts and textures, and draws the Workspace. It repaints on demand: on input, and when somebody
// calls update(). Needs OpenGL 3.3; without, unsupported() is emitted once with the reason and nothing is drawn.
#include <QElapsedTimer>
#include <QOpenGLWidget>
#include <memory>
#include <vector>

#include "app/window/canvas_input.h"
#include "views/panels/workspace.h"

struct ImGuiContext;

namespace headscope::app {

class GlTextures;

class Canvas : public QOpenGLWidget {
  Q_OBJECT
 public:
  Canvas(views::WorkspaceHost& host, views::FontFiles fonts, QWidget* parent = nullptr);
  ~Canvas() override;

  /// Null until the first frame.
  views::Workspace* workspace() { return workspace_.get(); }
  /// Splits for the first frame and after.
  void setSplits(const views::WorkspaceSplits& splits);
  views::WorkspaceSplits splits() const;
  /// What the last frame took, milliseconds. Our own work: events, views, draw lists, pictures handed to OpenGL. What the OpenGL
  /// driver then does with the lists is not in it: a software renderer compiles and draws there.
  struct FrameTimes {
    double own = 0;           // wall
    double ownProcessor = 0;  // of this thread: other programs of the machine don't lengthen it
    double withDriver = 0;    // wall, until everything was submitted
  };
  const FrameTimes& frameTimes() const { return frameTimes_; }
  uint64_t frameCount() const { return frameCount_; }
  /// True when every input was handled and drawn.
  bool isIdle() const { return input_.isEmpty() && framesWanted_ == 0; }

 Q_SIGNALS:
  void unsupported(const QString& reason);
  void firstFrame();
  void framePainted();  // after each, its times are there

 protected:
  void initializeGL() override;
  void paintGL() override;
  bool event(QEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void keyReleaseEvent(QKeyEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  void release();
  void push(CanvasEvent event);
  void pushButton(QMouseEvent* event, bool isDown);
  void pushKey(QKeyEvent* event, bool isDown);
  void pushZoom(QPointF at, double factor);
  bool pinch(QEvent* event);
  void applyEvents(const std::vector<CanvasEvent>& events);
  void drawFrame();
  void rebuildFonts();

  views::WorkspaceHost& host_;
  views::FontFiles fontFiles_;
  CanvasInput input_;
  ImGuiContext* context_ = nullptr;
  std::unique_ptr<views::ImGuiFonts> fonts_;
  std::unique_ptr<GlTextures> textures_;
  std::unique_ptr<views::Workspace> workspace_;
  views::WorkspaceSplits splits_;
  QElapsedTimer clock_;
  int framesWanted_ = 0;  // frames that still follow an input, for hover and popups to settle
  bool isReady_ = false, hasPainted_ = false;
  FrameTimes frameTimes_;
  uint64_t frameCount_ = 0;
};

}  // namespace headscope::app
