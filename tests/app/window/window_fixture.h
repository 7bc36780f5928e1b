#pragma once
// A real main window on the display at hand (Xvfb under ./dev test), driven by real mouse and key events. Settings go to a
// folder of the test's own. Skips, saying so, where there is no display.
#include <gtest/gtest.h>

#include <QApplication>
#include <QSettings>
#include <QTemporaryDir>
#include <QTest>
#include <functional>
#include <memory>
#include <optional>

#include "app/first_session.h"
#include "app/window/main_window.h"
#include "app/window/notice_bar.h"

namespace headscope::app {

/// The one application of the test program; null without a display.
inline QApplication* testApplication() {
  static QApplication* const application = []() -> QApplication* {
    if (qEnvironmentVariableIsEmpty("DISPLAY") && qEnvironmentVariableIsEmpty("WAYLAND_DISPLAY")) return nullptr;
    if (QCoreApplication::instance()) return nullptr;  // another test's application without a window
    static int argc = 1;
    static char name[] = "app_tests";
    static char* argv[] = {name, nullptr};
    prepareQt();
    auto* made = new QApplication(argc, argv);  // lives as long as the program
    dressApplication();
    return made;
  }();
  return application;
}

class WindowTest : public testing::Test {
 protected:
  static constexpr int kPatience_ms = 60'000;  // for sanitizers on a loaded machine; waits end as soon as the thing is there

  void SetUp() override {
    if (!testApplication()) GTEST_SKIP() << "no display: run under xvfb-run";
    QSettings::setPath(QSettings::NativeFormat, QSettings::UserScope, folder_.path());
    StartOptions options;
    options.prompt = firstPrompt();
    open(options);
  }

  void open(const StartOptions& options) {
    window_ = std::make_unique<MainWindow>(options);
    window_->resize(1440, 900);
    window_->show();
    ASSERT_TRUE(QTest::qWaitForWindowExposed(window_.get()));
    QApplication::setActiveWindow(window_.get());  // there is no window manager that would
  }

  AppState& state() { return window_->state(); }

  bool waitFor(const std::function<bool()>& condition) { return QTest::qWaitFor(condition, kPatience_ms); }

  /// Everything asked for is there and drawn.
  bool settle() {
    return waitFor(
        [&] { return state().trace() && state().scores() && state().jobs().isIdle() && window_->board().isSettled() && isDrawn(); });
  }
  bool isDrawn() { return window_->canvas() && window_->canvas()->workspace(); }

  /// A place in the canvas where a pane shows a pick for which `wanted` holds; waits until it is drawn.
  QPoint findPick(int pane, const std::function<bool(const views::Pick&)>& wanted) {
    std::optional<QPoint> found;
    const auto look = [&] {
      frame();  // what came last may not be drawn yet
      views::Workspace* workspace = window_->canvas()->workspace();
      const views::Rect rect = workspace->figureRect(pane);
      const views::Figure& figure = workspace->figure(pane);
      for (double y = 1; y < rect.height && !found; y += 3) {
        for (double x = 1; x < rect.width && !found; x += 3) {
          if (wanted(figure.pick({x, y}))) found = QPointF(rect.x + x + 1, rect.y + y + 1).toPoint();
        }
      }
      return found.has_value();
    };
    if (!waitFor(look)) ADD_FAILURE() << "nothing of that kind in pane " << pane;
    return found.value_or(QPoint());
  }

  /// The next frame, and those that input still asks for.
  void frame() {
    const uint64_t before = window_->canvas()->frameCount();
    window_->canvas()->update();
    waitFor([&] { return window_->canvas()->frameCount() > before && window_->canvas()->isIdle(); });
  }

  void clickCanvas(QPoint at, Qt::KeyboardModifiers modifiers = {}) {
    QTest::mouseMove(window_->canvas(), at);
    frame();
    QTest::mouseClick(window_->canvas(), Qt::LeftButton, modifiers, at);
    frame();
  }

  void press(Qt::Key key, Qt::KeyboardModifiers modifiers = {}) {
    QTest::keyClick(window_->focusWidget() ? window_->focusWidget() : window_.get(), key, modifiers);
  }

  QTemporaryDir folder_;
  std::unique_ptr<MainWindow> window_;
};

}  // namespace headscope::app
