#include "app/window/pane_board.h"

#include <QMetaObject>
#include <algorithm>

namespace headscope::app {

void PaneBoard::changeOptions(int pane, const core::ViewOptions& options) {
  core::ViewOptions kept = options;
  const auto strength = kept.numbers.extract(views::kStrengthOption);
  if (kept != state_.pane(pane).options) state_.setOptions(pane, kept);
  if (!strength.empty()) state_.setStrength(std::clamp(strength.mapped(), 0.0, 1.5));
}

bool PaneBoard::isSettled() const {
  return std::all_of(slots_.begin(), slots_.end(),
                     [](const Slot& slot) { return slot.wanted.empty() || slot.wanted == slot.key || slot.wanted == slot.failed; });
}

bool PaneBoard::hasPicture(int pane) const {
  const Slot& slot = slots_[static_cast<size_t>(pane)];
  return slot.data != nullptr && slot.key == slot.wanted;
}

views::WorkspaceHost::Pane PaneBoard::pane(int index, views::Size size) {
  Pane shown;
  Slot& slot = slots_[static_cast<size_t>(index)];
  shown.view = views::findView(state_.pane(index).view);
  shown.input = state_.viewInput(index);
  if (!shown.view) {
    shown.message = "This program has no view named " + state_.pane(index).view;
    return shown;
  }
  if (slot.view != state_.pane(index).view) {
    state_.jobs().cancel("pane " + std::to_string(index));
    slot = Slot{};
    slot.view = state_.pane(index).view;
  }
  std::string key = shown.view->dataKey(shown.input, size);
  if (!key.empty()) {
    key += '|' + std::to_string(shown.view->needsTrace() ? state_.traceNumber() : 0) + '|' + std::to_string(state_.modelNumber());
    if (key != slot.wanted) {
      slot.wanted = key;
      if (key != slot.key) request(index, slot, *shown.view, shown.input, size);
    }
  } else {
    slot.wanted.clear();
    slot.data.reset();
    slot.key.clear();
  }
  shown.data = slot.data;
  if (slot.job && !slot.job->cancelled() && slot.wanted != slot.key && slot.wanted != slot.failed) shown.progress = slot.job->fraction();
  if (slot.wanted == slot.failed && !slot.failed.empty()) shown.message = slot.fault;
  return shown;
}

void PaneBoard::request(int index, Slot& slot, const views::View& view, const views::ViewInput& input, views::Size size) {
  const std::string key = slot.wanted;
  slot.job = state_.jobs().submit(
      "pane " + std::to_string(index), std::string(view.title()),
      [this, index, key, &view, input, size](core::Job& job) -> JobRunner::Delivery {
        const auto showPart = [this, index, key](std::shared_ptr<const views::ViewData> part) {
          QMetaObject::invokeMethod(
              &state_,
              [this, index, key, part] {
                Slot& slot = slots_[static_cast<size_t>(index)];
                if (slot.wanted != key || slot.key == key) return;
                slot.data = part;
                repaint_();
              },
              Qt::QueuedConnection);
        };
        auto data = view.computeInParts(input, size, job, showPart);
        return [this, index, key, data] {
          Slot& done = slots_[static_cast<size_t>(index)];
          if (done.wanted != key) return;
          done.data = data;
          done.key = key;
          done.job.reset();
          repaint_();
        };
      },
      [this, index, key](const core::Error& e) {
        Slot& done = slots_[static_cast<size_t>(index)];
        if (done.wanted != key) return;
        done.failed = key;
        done.fault = describe(e).toStdString();
        done.job.reset();
        repaint_();
      });
}

}  // namespace headscope::app
