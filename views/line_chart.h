#pragma once
// LineChart: a plot area with two axes, linear or log, at most five labelled ticks each, lines with labels at their ends, marks
// that can be dragged, and the values under the mouse.
#include <string>
#include <vector>

#include "views/figure/figure.h"
#include "views/theme.h"
#include "views/view.h"

namespace headscope::views {

struct ChartAxis {
  double low = 0, high = 1;
  bool isLog = false;
  std::string label;
  bool isWhole = false;  // of whole numbers: no ticks between them
  /// In [0, 1], outside when the value is.
  double unit(double value) const;
  double at(double unit) const;
};

/// A log axis over [low, high], widened where needed until two powers of ten lie on it: only these are labelled.
ChartAxis logAxis(double low, double high, std::string label);

struct LineLabel {
  double y = 0;  // value
  std::string text;
  Color color;
};

/// One line of the values under the mouse.
struct Reading {
  std::string label;
  const std::vector<Point>* points = nullptr;  // by ascending x; null: `text` is the value
  Color color{};
  std::string text{};
};

class LineChart {
 public:
  /// plot: the area inside the axes.
  LineChart(Figure& figure, Rect plot, ChartAxis x, ChartAxis y, const Theme& theme)
      : figure_(figure), plot_(plot), x_(std::move(x)), y_(std::move(y)), theme_(theme) {}

  const Rect& plot() const { return plot_; }
  Point at(double x, double y) const;
  /// Lines of the axes, ticks, labels; where the plot is low or narrow, only as many labels as stand apart. xLabels false: ticks of
  /// the x axis only, for charts that stand over one another; hasTitle false: without the line that names the x axis.
  void addAxes(bool xLabels = true, bool hasTitle = true);
  /// Labels of horizontal marks at the left of the plot, each over its line, or under it where another one stands; those without
  /// room are left out.
  void addMarkLabels(std::vector<LineLabel> labels);
  /// Clipped to the plot. Points that can't be shown (not positive on a log axis, NaN) break the line.
  void addLine(const std::vector<Point>& values, Color color, double width, Pick pick = {});
  /// At the right end of the plot, moved apart where they would overlap. Where the plot is too low for all, those in the accent
  /// colour stay.
  void addEndLabels(std::vector<LineLabel> labels);
  void addVertical(double x, Color color, const std::string& label, double labelRow = 0);
  void addHorizontal(double y, Color color, const std::string& label);
  /// A grip over a mark: the mouse takes it there. Control `id`; where it was dragged to: draggedX, draggedY. Pick::b of a vertical
  /// one is the x axis' end.
  void addVerticalGrip(double x, int64_t id, const std::string& tip);
  void addHorizontalGrip(double y, int64_t id, const std::string& tip);
  /// With the mouse in the plot and on no control: a hairline at the nearest x of the first reading, dots, and a box of the
  /// values, headed by `head` and the x.
  void addReadings(const std::string& head, const std::vector<Reading>& readings, const ViewFrame& frame);

 private:
  void addTicks(bool isX, bool hasLabels);
  Figure& figure_;
  Rect plot_;
  ChartAxis x_, y_;
  const Theme& theme_;
};

/// Where in its plot, [0, 1] along the axis, a gesture holds a chart's grip.
double draggedX(const View::Gesture& gesture);
double draggedY(const View::Gesture& gesture);
/// True for a drag or click that began on control `id`.
bool isOnControl(const View::Gesture& gesture, int64_t id);

}  // namespace headscope::views
