#include "views/line_chart.h"

#include <algorithm>
#include <cmath>

#include "views/figure/axis.h"
#include "views/figure/build.h"

namespace headscope::views {

double ChartAxis::unit(double value) const {
  if (isLog) {
    if (!(value > 0) || !(low > 0) || !(high > low)) return std::nan("");
    return std::log(value / low) / std::log(high / low);
  }
  return high > low ? (value - low) / (high - low) : 0.5;
}

Point LineChart::at(double x, double y) const { return {plot_.x + x_.unit(x) * plot_.width, plot_.bottom() - y_.unit(y) * plot_.height}; }

void LineChart::addTicks(bool isX) {
  const ChartAxis& axis = isX ? x_ : y_;
  const Font font = theme_.small();
  for (const double value :
       axis.isLog&& axis.high > 30 * axis.low ? decadeTicks(axis.low, axis.high, 5) : roundTicks(axis.low, axis.high, 5)) {
    const double u = axis.unit(value);
    if (!(u >= -1e-9 && u <= 1 + 1e-9)) continue;
    if (isX) {
      const double px = plot_.x + u * plot_.width;
      figure_.add(segment({px, plot_.bottom()}, {px, plot_.bottom() + theme_.gap / 2}, theme_.line));
      figure_.add(
          textAt({px, plot_.bottom() + theme_.gap * 0.75}, shortNumber(value), font, theme_.inkSecond, AnchorX::Center, AnchorY::Top));
    } else {
      const double py = plot_.bottom() - u * plot_.height;
      figure_.add(segment({plot_.x, py}, {plot_.right(), py}, theme_.line));
      figure_.add(textAt({plot_.x - theme_.gap * 0.75, py}, shortNumber(value), font, theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
    }
  }
}

void LineChart::addAxes() {
  addTicks(false);
  addTicks(true);
  figure_.add(segment({plot_.x, plot_.bottom()}, {plot_.right(), plot_.bottom()}, theme_.inkSecond));
  const Font font = theme_.small();
  const double below = theme_.gap * 1.25 + theme_.smallSize * 1.3;
  figure_.add(textAt({plot_.right(), plot_.bottom() + below}, x_.label, font, theme_.inkSecond, AnchorX::Right, AnchorY::Top));
  figure_.add(textAt({plot_.x, plot_.y - theme_.gap}, y_.label, font, theme_.inkSecond, AnchorX::Left, AnchorY::Bottom));
}

void LineChart::addLine(const std::vector<Point>& values, Color color, double width, Pick pick) {
  figure_.add(ClipItem{plot_.inset(-width)});
  PolylineItem line;
  line.stroke = color, line.strokeWidth = width;
  const auto flush = [&] {
    if (line.points.size() > 1) figure_.add(line).pick = pick;
    if (line.points.size() == 1) {
      const Point p = line.points.front();
      const double r = std::max(1.5, width);
      figure_.add(RectItem{{p.x - r, p.y - r, 2 * r, 2 * r}, color, kTransparent, 0, r}).pick = pick;
    }
    line.points.clear();
  };
  for (const Point& v : values) {
    const Point p = at(v.x, v.y);
    if (std::isfinite(p.x) && std::isfinite(p.y)) {
      line.points.push_back(p);
    } else {
      flush();
    }
  }
  flush();
  figure_.add(ClipItem{});
}

void LineChart::addVertical(double x, Color color, const std::string& label, double labelRow) {
  const double u = x_.unit(x);
  if (!(u >= 0 && u <= 1)) return;
  const double px = plot_.x + u * plot_.width;
  figure_.add(segment({px, plot_.y}, {px, plot_.bottom()}, color, 1));
  const bool isRight = u > 0.6;
  figure_.add(textAt({px + (isRight ? -3 : 3), plot_.y + labelRow * theme_.smallSize * 1.3}, label, theme_.small(), color,
                     isRight ? AnchorX::Right : AnchorX::Left, AnchorY::Top));
}

void LineChart::addHorizontal(double y, Color color, const std::string& label) {
  const double u = y_.unit(y);
  if (!(u >= 0 && u <= 1)) return;
  const double py = plot_.bottom() - u * plot_.height;
  figure_.add(segment({plot_.x, py}, {plot_.right(), py}, color, 1));
  figure_.add(textAt({plot_.right() - 2, py - 2}, label, theme_.small(), color, AnchorX::Right, AnchorY::Bottom));
}

}  // namespace headscope::views
