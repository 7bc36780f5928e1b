// Starting Qt for the window: attributes that must be set before the application object, the style, the event loop.
#include <QApplication>
#include <QIcon>
#include <QStyleFactory>
#include <QSurfaceFormat>
#include <optional>

#include "app/assets.h"
#include "app/window/main_window.h"
#include "app/window/theme_style.h"
#include "app/window/window_times.h"
#include "core/base/error.h"

namespace headscope::app {

void prepareQt() {
  QCoreApplication::setAttribute(Qt::AA_ShareOpenGLContexts);
  QSurfaceFormat format;
  format.setRenderableType(QSurfaceFormat::OpenGL);
  format.setVersion(3, 3);
  format.setProfile(QSurfaceFormat::CoreProfile);
  format.setDepthBufferSize(0);
  format.setStencilBufferSize(0);
  QSurfaceFormat::setDefaultFormat(format);
  QGuiApplication::setHighDpiScaleFactorRoundingPolicy(Qt::HighDpiScaleFactorRoundingPolicy::PassThrough);
}

void dressApplication() {
  QApplication::setStyle(QStyleFactory::create(QStringLiteral("Fusion")));
  QApplication::setFont(sansFont(views::Theme{}.textSize));
  QGuiApplication::setApplicationDisplayName(QStringLiteral("Headscope"));
  QGuiApplication::setDesktopFileName(QStringLiteral("headscope"));
}

namespace {

QIcon windowIcon() {
  try {
    return QIcon(QString::fromStdString((assetsFolder() / "icons/headscope.svg").string()));
  } catch (const core::Error&) {
    return {};  // no picture is no reason not to open
  }
}

}  // namespace

int runWindow(int argc, char** argv, const StartOptions& options) {
  prepareQt();
  QApplication application(argc, argv);
  dressApplication();
  QApplication::setWindowIcon(windowIcon());
  MainWindow window(options);
  std::optional<WindowTimes> times;
  if (!options.timesFile.empty()) times.emplace(window, options.timesFile);
  window.show();
  return QApplication::exec();
}

}  // namespace headscope::app
