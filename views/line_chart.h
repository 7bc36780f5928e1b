#pragma once
// LineChart: a plot area with two axes, linear or log, at most five labelled ticks each, lines with labels at their ends.
#include <string>
#include <vector>

#include "views/figure/figure.h"
#include "views/theme.h"

namespace headscope::views {

struct ChartAxis {
  double low = 0, high = 1;
  bool isLog = false;
  std::string label;
  /// In [0, 1], outside when the value is.
  double unit(double value) const;
};

class LineChart {
 public:
  /// plot: the area inside the axes.
  LineChart(Figure& figure, Rect plot, ChartAxis x, ChartAxis y, const Theme& theme)
      : figure_(figure), plot_(plot), x_(x), y_(y), theme_(theme) {}

  const Rect& plot() const { return plot_; }
  Point at(double x, double y) const;
  /// Lines of the axes, ticks, labels.
  void addAxes();
  /// Clipped to the plot. Points that can't be shown (not positive on a log axis, NaN) break the line.
  void addLine(const std::vector<Point>& values, Color color, double width, Pick pick = {});
  void addVertical(double x, Color color, const std::string& label, double labelRow = 0);
  void addHorizontal(double y, Color color, const std::string& label);

 private:
  void addTicks(bool isX);
  Figure& figure_;
  Rect plot_;
  ChartAxis x_, y_;
  const Theme& theme_;
};

}  // namespace headscope::views
