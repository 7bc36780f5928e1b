#include "app/window/pane_board.h"

#include <QMetaObject>
#include <QTimer>
#include <algorithm>
#include <cmath>

namespace headscope::app {
namespace {
constexpr double kGlide_ms = 150;
/// A slider that moves asks for something new every frame: what was asked for may finish and be shown unless it takes longer than this.
constexpr int kLetFinish_ms = 120;

/// Keys of the same run and model, which differ in what is selected or what options say.
bool isOfSameRun(const std::string& a, const std::string& b) {
  const auto run = [](const std::string& key) { return key.substr(key.rfind('|', key.rfind('|') - 1)); };
  return a.find('|') != a.rfind('|') && run(a) == run(b);
}
}  // namespace

void PaneBoard::changeOptions(int pane, const core::ViewOptions& options) {
  slots_[static_cast<size_t>(pane)].gliding.invalidate();
  core::ViewOptions kept = options;
  const auto strength = kept.numbers.extract(views::kStrengthOption);
  if (kept != state_.pane(pane).options) state_.setOptions(pane, kept);
  if (!strength.empty()) state_.setStrength(std::clamp(strength.mapped(), 0.0, 1.5));
}

bool PaneBoard::isSettled() const {
  return std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) {
    return !slot.gliding.isValid() && (slot.wanted.empty() || slot.wanted == slot.key || slot.wanted == slot.failed);
  });
}

bool PaneBoard::hasPicture(int pane) const {
  const Slot& slot = slots_[static_cast<size_t>(pane)];
  return slot.data != nullptr && slot.key == slot.wanted;
}

views::WorkspaceHost::Pane PaneBoard::pane(int index, views::Size size) {
  Pane shown;
  Slot& slot = slots_[static_cast<size_t>(index)];
  shown.view = views::findView(state_.pane(index).view);
  if (!shown.view) {
    shown.message = "This program has no view named " + state_.pane(index).view;
    return shown;
  }
  shown.input = state_.viewInput(index);
  if (shown.input.model) shown.message = shown.view->whyNot(shown.input.model->spec());
  const bool lacksPicture = shown.view->needsTrace() && !shown.input.trace && state_.opened().readsImages() && state_.imagePath().isEmpty();
  if (lacksPicture && shown.message.empty()) shown.message = "This model reads images: drop a PNG or JPEG here, or choose File, Open image";
  if (!shown.message.empty()) {
    state_.jobs().cancel(laneOf(index));
    slot = Slot{};
    return shown;
  }
  if (slot.view != state_.pane(index).view) {
    state_.jobs().cancel(laneOf(index));
    slot = Slot{};
    slot.view = state_.pane(index).view;
    slot.followed = state_.selection();
  }
  follow(index, slot, *shown.view, size);
  glide(index, slot);
  shown.input = state_.viewInput(index);
  fetch(index, slot, shown, size);
  if (explainAbsence(index, slot, shown)) return shown;
  shown.data = slot.data;
  const auto forward = state_.jobs().find("forward");
  if (slot.job && !slot.job->cancelled() && slot.wanted != slot.key && slot.wanted != slot.failed) {
    shown.progress = slot.job->fraction();
  } else if (shown.view->needsTrace() && !shown.input.trace && forward) {
    shown.progress = forward->fraction();
  }
  return shown;
}

void PaneBoard::fetch(int index, Slot& slot, Pane& shown, views::Size size) {
  std::string key = shown.view->dataKey(shown.input, size);
  if (key.empty()) {
    slot.wanted.clear();
    slot.data.reset();
    slot.key.clear();
    return;
  }
  key += '|' + std::to_string(shown.view->needsTrace() ? state_.traceNumber() : 0) + '|' + std::to_string(state_.modelNumber());
  const bool isNew = key != slot.asked;
  slot.wanted = key;
  if (key == slot.key || key == slot.failed) return;
  const bool isActive = state_.jobs().isActive(laneOf(index));
  if (isNew && isActive && slot.since.elapsed() < kLetFinish_ms && isOfSameRun(slot.asked, key)) {
    QTimer::singleShot(kLetFinish_ms, &state_, repaint_);
    return;
  }
  // Once a key; again when it was stopped and is no longer to be.
  const bool wasDropped = !isActive && !state_.isStopped(laneOf(index));
  if (isNew || wasDropped) request(index, slot, *shown.view, shown.input, size);
}

/// Says why there is nothing where something should be, and what brings it. False when all is well or under way.
bool PaneBoard::explainAbsence(int index, const Slot& slot, Pane& shown) const {
  const bool needsRun = shown.view->needsTrace() && !shown.input.trace;
  if (!slot.failed.empty() && slot.wanted == slot.failed) {
    shown.message = slot.fault;
    shown.action = "Try again";
  } else if (slot.wanted != slot.key && state_.isStopped(laneOf(index))) {
    // What is there stays to be seen.
    (slot.data && slot.partOf == slot.wanted ? shown.note : shown.message) =
        std::string(shown.view->title()) + " was stopped before it was done";
    shown.action = "Go on";
  } else if (!shown.input.model && state_.isStopped("model")) {
    shown.message = "Opening the model was stopped";
    shown.action = "Open it";
  } else if (needsRun && state_.isStopped("forward")) {
    shown.message = "The forward pass was stopped, so there is nothing of this prompt to show";
    shown.action = "Run it";
  }
  return !shown.message.empty();
}

void PaneBoard::resume(int pane) {
  slots_[static_cast<size_t>(pane)].failed.clear();
  state_.resume();
}

void PaneBoard::follow(int index, Slot& slot, const views::View& view, views::Size size) {
  if (slot.followed == state_.selection()) return;
  slot.followed = state_.selection();
  const views::ViewInput input = state_.viewInput(index);
  core::ViewOptions target = input.options;
  if (!view.follow(input, size, target)) return;
  if (!state_.isMotionWelcome()) {
    state_.setOptions(index, target);
    return;
  }
  slot.from = input.options, slot.to = target;
  slot.gliding.start();
}

void PaneBoard::glide(int index, Slot& slot) {
  if (!slot.gliding.isValid()) return;
  const double t = std::min(1.0, static_cast<double>(slot.gliding.elapsed()) / kGlide_ms), eased = 1 - std::pow(1 - t, 3);
  core::ViewOptions now = slot.to;
  if (t < 1) {
    now.firstRow = slot.from.firstRow + eased * (slot.to.firstRow - slot.from.firstRow);
    now.firstCol = slot.from.firstCol + eased * (slot.to.firstCol - slot.from.firstCol);
  } else {
    slot.gliding.invalidate();
  }
  state_.setOptions(index, now);  // asks for the next frame too
}

void PaneBoard::request(int index, Slot& slot, const views::View& view, const views::ViewInput& input, views::Size size) {
  const std::string key = slot.wanted;
  slot.asked = key;
  slot.since.start();
  slot.job = state_.jobs().submit(
      laneOf(index), std::string(view.title()),
      [this, index, key, &view, input, size](core::Job& job) -> JobRunner::Delivery {
        const auto showPart = [this, index, key](std::shared_ptr<const views::ViewData> part) {
          QMetaObject::invokeMethod(
              &state_,
              [this, index, key, part] {
                Slot& slot = slots_[static_cast<size_t>(index)];
                if (slot.asked != key || slot.key == key) return;
                slot.data = part;
                slot.partOf = key;
                repaint_();
              },
              Qt::QueuedConnection);
        };
        auto data = view.computeInParts(input, size, job, showPart);
        return [this, index, key, data] {
          Slot& done = slots_[static_cast<size_t>(index)];
          if (done.asked != key) return;
          done.data = data;  // also where the slider is further by now: it moves on from here
          done.key = key;
          done.job.reset();
          repaint_();
        };
      },
      [this, index, key](const core::Error& e) {
        Slot& done = slots_[static_cast<size_t>(index)];
        if (done.asked != key) return;
        done.failed = key;
        done.fault = describe(e).toStdString();
        done.job.reset();
        repaint_();
      });
}

}  // namespace headscope::app
