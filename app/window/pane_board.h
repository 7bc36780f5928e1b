#pragma once
// PaneBoard: between AppState and the canvas's Workspace: answers what each pane shows, and has the views' data computed in
// jobs, one lane a pane, keyed by the view's dataKey, so that a frame never waits. A pane whose visible part lacks what was
// selected glides there in 150 ms, or jumps where motion is not welcome.
#include <QElapsedTimer>
#include <array>
#include <functional>
#include <map>
#include <string>

#include "app/window/app_state.h"
#include "views/panels/workspace.h"

namespace headscope::app {

class PaneBoard : public views::WorkspaceHost {
 public:
  PaneBoard(AppState& state, const views::TextMeasure& measure, std::function<void()> repaint, std::function<void(int)> exportPane)
      : state_(state), measure_(measure), repaint_(std::move(repaint)), exportPane_(std::move(exportPane)) {}

  int paneCount() const override { return state_.paneCount(); }
  int maximised() const override { return state_.maximisedPane(); }
  int focused() const override { return state_.focusedPane(); }
  Pane pane(int index, views::Size size) override;
  core::Selection hover() const override { return state_.hover(); }
  const views::Theme& theme() const override { return state_.theme(); }
  const views::TextMeasure& measure() const override { return measure_; }

  void chooseView(int pane, const views::View& view) override { state_.setView(pane, std::string(view.name())); }
  void changeOptions(int pane, const core::ViewOptions& options) override;
  void select(const core::Selection& selection) override { state_.select(selection); }
  void setHover(const core::Selection& hover) override { state_.setHover(hover); }
  void focusPane(int pane) override { state_.focusPane(pane); }
  void toggleMaximised(int pane) override { state_.toggleMaximised(pane); }
  void exportPane(int pane) override { exportPane_(pane); }
  void resume(int pane) override;

  /// True when the pane shows the data of its latest key.
  bool hasPicture(int pane) const;
  /// True when every visible pane shows the data of its latest key and none moves. For tests and pictures of the window.
  bool isSettled() const;

 private:
  struct Slot {
    std::string view;     // whose data it is
    std::string wanted;   // newest key that the pane should show
    std::string asked;    // key that was computed last, or is being
    QElapsedTimer since;  // when that was asked for
    std::string key;      // of data, when it is whole
    std::string partOf;   // key that data is a part of, when it is not
    std::string failed;   // key whose computation failed, not to be tried again
    std::string fault;
    std::shared_ptr<const views::ViewData> data;
    std::shared_ptr<core::Job> job;
    core::Selection followed;  // the selection that the pane was last moved to
    // Its visible part on the way to that selection
    core::ViewOptions from, to;
    QElapsedTimer gliding;  // valid while it moves
  };
  void fetch(int index, Slot& slot, Pane& shown, views::Size size);
  void follow(int index, Slot& slot, const views::View& view, views::Size size);
  void glide(int index, Slot& slot);
  static std::string laneOf(int index) { return "pane " + std::to_string(index); }
  bool explainAbsence(int index, const Slot& slot, Pane& shown) const;
  void request(int index, Slot& slot, const views::View& view, const views::ViewInput& input, views::Size size);

  AppState& state_;
  const views::TextMeasure& measure_;
  std::function<void()> repaint_;
  std::function<void(int)> exportPane_;
  std::array<Slot, PaneLayout::kMost> slots_;
};

}  // namespace headscope::app
