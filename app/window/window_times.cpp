#include "app/window/window_times.h"

#include <time.h>

#include <QApplication>
#include <QEventLoop>
#include <QMouseEvent>
#include <QTimer>
#include <QWheelEvent>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/base/files.h"

namespace headscope::app {
namespace {

constexpr int kPatience_ms = 120'000;  // for one picture; a run that needs more has gone wrong
constexpr int kZoomSteps = 14, kPanSteps = 48;
constexpr int kMapPane = 1;
constexpr int kSliderSteps = 24;

double monotonicSeconds() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double processorSeconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Runs the event loop until the condition holds; false when it takes too long.
bool waitFor(const std::function<bool()>& condition) {
  QElapsedTimer timer;
  timer.start();
  QTimer pulse;  // so that a wait for an event ends
  pulse.start(5);
  while (!condition()) {
    if (timer.elapsed() > kPatience_ms) return false;
    QCoreApplication::processEvents(QEventLoop::AllEvents | QEventLoop::WaitForMoreEvents);
  }
  return true;
}

void move(QWidget* widget, QPointF at, Qt::MouseButtons held) {
  QMouseEvent event(QEvent::MouseMove, at, widget->mapToGlobal(at), Qt::NoButton, held, Qt::NoModifier);
  QCoreApplication::sendEvent(widget, &event);
}

void button(QWidget* widget, QPointF at, bool isDown) {
  QMouseEvent event(isDown ? QEvent::MouseButtonPress : QEvent::MouseButtonRelease, at, widget->mapToGlobal(at), Qt::MiddleButton,
                    isDown ? Qt::MiddleButton : Qt::NoButton, Qt::NoModifier);
  QCoreApplication::sendEvent(widget, &event);
}

void wheel(QWidget* widget, QPointF at, int notches) {
  QWheelEvent event(at, widget->mapToGlobal(at), {}, {0, 120 * notches}, Qt::NoButton, Qt::NoModifier, Qt::NoScrollPhase, false);
  QCoreApplication::sendEvent(widget, &event);
}

}  // namespace

WindowTimes::WindowTimes(MainWindow& window, std::filesystem::path file) : window_(window), file_(std::move(file)) {
  connect(window.canvas(), &Canvas::framePainted, this, [this] {
    const double now = monotonicSeconds();
    frames_.push_back(window_.canvas()->frameTimes());
    if (!firstFrame_s_) firstFrame_s_ = now;
    if (!grid_s_ && window_.board().hasPicture(0)) grid_s_ = now;
    if (!maps_s_ && areMapsShown()) maps_s_ = now;
  });
  connect(&window.state(), &AppState::traceChanged, this, [this] {
    if (window_.state().trace() && !forward_s_) forward_s_ = monotonicSeconds();
  });
  connect(window.canvas(), &Canvas::unsupported, qApp, [](const QString&) { QCoreApplication::exit(1); });
  QTimer::singleShot(0, this, &WindowTimes::run);
}

bool WindowTimes::areMapsShown() const {
  for (int pane = 0; pane < window_.state().paneCount(); ++pane) {
    if (!window_.board().hasPicture(pane)) return false;
  }
  return true;
}

void WindowTimes::settle() {
  waitFor([this] { return window_.state().jobs().isIdle() && window_.board().isSettled() && window_.canvas()->isIdle(); });
}

void WindowTimes::zoomAndPan() {
  Canvas* canvas = window_.canvas();
  window_.state().toggleMaximised(kMapPane);
  settle();
  const QPointF middle(canvas->width() * 0.5, canvas->height() * 0.62);  // inside the map, whose labels are above it
  const auto step = [&](const std::function<void()>& input) {
    const uint64_t before = canvas->frameCount();
    input();
    waitFor([&] { return canvas->frameCount() > before && canvas->isIdle(); });
  };
  move(canvas, middle, Qt::NoButton);
  for (int i = 0; i < kZoomSteps; ++i) {
    step([&] { wheel(canvas, middle, 1); });
    if (i % 4 == 3) settle();  // a person sees the sharp picture now and then
  }
  step([&] { button(canvas, middle, true); });
  for (int i = 1; i <= kPanSteps; ++i) {
    step([&] { move(canvas, middle + QPointF(i % 24 * 6.0, i % 24 * 4.0), Qt::MiddleButton); });
    if (i % 12 == 0) settle();
  }
  step([&] { button(canvas, middle, false); });
  for (int i = 0; i < kZoomSteps; ++i) step([&] { wheel(canvas, middle, -1); });
  settle();
}

void WindowTimes::moveSlider() {
  AppState& state = window_.state();
  state.setView(kMapPane, "mask");
  settle();
  Canvas* canvas = window_.canvas();
  for (int i = 0; i <= kSliderSteps; ++i) {
    core::ViewOptions options = state.pane(kMapPane).options;
    options.numbers["window"] = 4 + 7 * i % 61;
    const double from = monotonicSeconds(), processor = processorSeconds();
    window_.board().changeOptions(kMapPane, options);  // as the slider does
    canvas->update();
    const uint64_t before = canvas->frameCount();
    if (!waitFor([&] { return canvas->frameCount() > before && window_.board().isSettled() && canvas->isIdle(); })) return;
    if (i > 0) sliderSteps_.push_back({monotonicSeconds() - from, processorSeconds() - processor});  // the first one fills caches
  }
}

void WindowTimes::run() {
  const bool isThere = waitFor([this] { return maps_s_.has_value(); });
  settle();
  const std::vector<Canvas::FrameTimes> loading = frames_;
  frames_.clear();
  if (isThere) zoomAndPan();
  const std::vector<Canvas::FrameTimes> moving = frames_;
  if (isThere) moveSlider();
  write(loading, moving);
  window_.close();  // the last one: the program ends
  if (!isThere) QCoreApplication::exit(1);
}

void WindowTimes::write(const std::vector<Canvas::FrameTimes>& loading, const std::vector<Canvas::FrameTimes>& moving) const {
  nlohmann::ordered_json times;
  const auto put = [&](const char* name, const std::optional<double>& value) {
    if (value) times[name] = *value;
  };
  put("first_frame", firstFrame_s_);
  put("forward", forward_s_);
  put("head_grid", grid_s_);
  put("maps", maps_s_);
  times["tokens"] = window_.state().trace() ? window_.state().trace()->count() : 0;
  const auto add = [&](const char* name, const std::vector<Canvas::FrameTimes>& frames, size_t first) {
    auto& list = times[name] = nlohmann::ordered_json::array();
    for (size_t i = first; i < frames.size(); ++i) {
      const Canvas::FrameTimes& f = frames[i];
      list.push_back({{"own_s", f.own / 1e3}, {"processor_s", f.ownProcessor / 1e3}, {"with_driver_s", f.withDriver / 1e3}});
    }
  };
  add("loading_frames", loading, 1);  // the first makes the type and the shaders
  add("moving_frames", moving, 0);
  auto& slider = times["slider_steps"] = nlohmann::ordered_json::array();
  for (const auto& [wall, processor] : sliderSteps_) slider.push_back({{"wall_s", wall}, {"processor_s", processor}});
  core::writeFileWhole(file_, [&](std::ostream& out) { out << times.dump() << "\n"; });
}

}  // namespace headscope::app
