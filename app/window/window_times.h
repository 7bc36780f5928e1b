#pragma once
// WindowTimes: what `headscope --times FILE` does once the window stands: it waits for the first prompt's pictures, zooms and pans the
// attention map with the mouse, moves a slider of the mask studio, and writes what each step took as one JSON object; then the window
// closes. `headscope bench window` runs it in processes of their own. Times of events are seconds of the system's monotonic clock, so that
// whoever started the process can tell how long after the start they came.
#include <QObject>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "app/window/main_window.h"

namespace headscope::app {

class WindowTimes : public QObject {
  Q_OBJECT
 public:
  /// Before the window is shown; it outlives this.
  WindowTimes(MainWindow& window, std::filesystem::path file);

 private:
  void run();
  void zoomAndPan();
  void moveSlider();
  void settle();
  bool areMapsShown() const;
  void write(const std::vector<Canvas::FrameTimes>& loading, const std::vector<Canvas::FrameTimes>& moving) const;

  MainWindow& window_;
  std::filesystem::path file_;
  std::vector<Canvas::FrameTimes> frames_;
  std::vector<std::pair<double, double>> sliderSteps_;  // from the event to the frame with the new mask; processor time of the program
  std::optional<double> firstFrame_s_, forward_s_, grid_s_, maps_s_;
};

}  // namespace headscope::app
