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

double ChartAxis::at(double unit) const { return isLog ? low * std::pow(high / low, unit) : low + unit * (high - low); }

ChartAxis logAxis(double low, double high, std::string label) {
  high = high > 0 && std::isfinite(high) ? high : 1;
  low = low > 0 && low < high ? low : high / 10;
  const auto decades = [&] { return std::floor(std::log10(high) + 1e-9) - std::ceil(std::log10(low) - 1e-9) + 1; };
  while (decades() < 2) {  // the end that is nearer to a power of ten moves there
    const double up = std::pow(10.0, std::floor(std::log10(high) + 1e-9) + 1), down = std::pow(10.0, std::ceil(std::log10(low) - 1e-9) - 1);
    (up / high < low / down ? high : low) = up / high < low / down ? up : down;
  }
  return {low, high, true, std::move(label)};
}

Point LineChart::at(double x, double y) const { return {plot_.x + x_.unit(x) * plot_.width, plot_.bottom() - y_.unit(y) * plot_.height}; }

void LineChart::addTicks(bool isX, bool hasLabels) {
  const ChartAxis& axis = isX ? x_ : y_;
  const Font font = theme_.small();
  // Fewer than five where five would stand closer than their labels need.
  const int most = std::clamp(static_cast<int>((isX ? plot_.width / 3.2 : plot_.height / 2) / theme_.smallSize), 2, 5);
  double taken = -1e300;  // where the last label ends
  std::vector<double> ticks = axis.isLog ? decadeTicks(axis.low, axis.high, most) : roundTicks(axis.low, axis.high, most);
  if (axis.isWhole) std::erase_if(ticks, [](double value) { return std::abs(value - std::round(value)) > 1e-9; });
  const std::vector<std::string> labels = tickLabels(ticks);
  for (size_t i = 0; i < ticks.size(); ++i) {
    const double u = axis.unit(ticks[i]);
    if (!(u >= -1e-9 && u <= 1 + 1e-9)) continue;
    if (isX) {
      const double px = plot_.x + u * plot_.width;
      figure_.add(segment({px, plot_.bottom()}, {px, plot_.bottom() + theme_.gap / 2}, theme_.line));
      const std::string& text = labels[i];
      const double half = 0.32 * theme_.smallSize * static_cast<double>(text.size());
      if (!hasLabels || px - half < taken) continue;
      figure_.add(textAt({px, plot_.bottom() + theme_.gap * 0.75}, text, font, theme_.inkSecond, AnchorX::Center, AnchorY::Top));
      taken = px + half + theme_.smallSize * 0.5;
    } else {
      const double py = plot_.bottom() - u * plot_.height;
      figure_.add(segment({plot_.x, py}, {plot_.right(), py}, theme_.line));
      const double up = plot_.bottom() - py;
      if (up < taken) continue;
      figure_.add(textAt({plot_.x - theme_.gap * 0.75, py}, labels[i], font, theme_.inkSecond, AnchorX::Right, AnchorY::Middle));
      taken = up + theme_.smallSize * 1.2;
    }
  }
}

void LineChart::addAxes(bool xLabels, bool hasTitle) {
  addTicks(false, true);
  addTicks(true, xLabels);
  figure_.add(segment({plot_.x, plot_.bottom()}, {plot_.right(), plot_.bottom()}, theme_.inkSecond));
  const Font font = theme_.small();
  const double below = theme_.gap * 1.25 + theme_.smallSize * 1.3;
  if (xLabels && hasTitle)
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

void LineChart::addEndLabels(std::vector<LineLabel> labels) {
  std::erase_if(labels, [&](const LineLabel& label) { return !std::isfinite(y_.unit(label.y)); });
  std::stable_sort(labels.begin(), labels.end(), [](const LineLabel& a, const LineLabel& b) { return a.y > b.y; });
  const double step = theme_.smallSize * 1.25;
  for (size_t i = labels.size(); i-- > 0 && static_cast<double>(labels.size()) * step > plot_.height + 1.5 * step;) {
    if (!(labels[i].color == theme_.accent)) labels.erase(labels.begin() + static_cast<std::ptrdiff_t>(i));
  }
  // Halfway between pushing overlaps down and pushing them up: each label stays near its line.
  std::vector<double> wanted, down, rows(labels.size());
  for (const LineLabel& label : labels) {
    wanted.push_back(std::clamp(plot_.bottom() - y_.unit(label.y) * plot_.height, plot_.y, plot_.bottom()));
    down.push_back(down.empty() ? wanted.back() : std::max(wanted.back(), down.back() + step));
  }
  double up = 1e300, limit = plot_.bottom() + step / 2;
  for (size_t i = labels.size(); i-- > 0; limit = rows[i] - step) {
    up = std::min(wanted[i], up - step);
    rows[i] = std::min((down[i] + up) / 2, limit);  // nothing runs below the plot
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    figure_.add(textAt({plot_.right() + theme_.gap * 0.75, rows[i]}, labels[i].text, theme_.small(), labels[i].color, AnchorX::Left,
                       AnchorY::Middle));
  }
}

void LineChart::addMarkLabels(std::vector<LineLabel> labels) {
  const double high = theme_.smallSize * 1.35;
  std::vector<double> lines, tops;  // of the marks, and of the labels that are placed
  for (const LineLabel& label : labels) lines.push_back(plot_.bottom() - y_.unit(label.y) * plot_.height);
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto isFree = [&](double top) {
      const auto isApart = [&](double other) { return std::abs(other - top) >= high; };
      const auto isUncrossed = [&](double line) { return line <= top + 1 || line >= top + high - 1; };
      return top >= plot_.y - 0.3 * theme_.smallSize && top + high <= plot_.bottom() + 1 &&
             std::all_of(tops.begin(), tops.end(), isApart) && std::all_of(lines.begin(), lines.end(), isUncrossed);
    };
    const double over = lines[i] - high, under = lines[i];
    if (!std::isfinite(lines[i]) || (!isFree(over) && !isFree(under))) continue;
    const bool isOver = isFree(over);
    tops.push_back(isOver ? over : under);
    figure_.add(textAt({plot_.x + theme_.gap / 2, isOver ? lines[i] - 2 : lines[i] + 2}, labels[i].text, theme_.small(), labels[i].color,
                       AnchorX::Left, isOver ? AnchorY::Bottom : AnchorY::Top));
  }
}

void LineChart::addVerticalGrip(double x, int64_t id, const std::string& tip) {
  const double u = x_.unit(x);
  if (!(u >= -1e-9 && u <= 1 + 1e-9)) return;
  const double px = plot_.x + u * plot_.width;
  figure_.addOverlay(RectItem{{px - 3.5, plot_.bottom() - 3.5, 7, 7}, theme_.canvas, theme_.accent, 1.5, 3.5});
  Item area = pickArea({px - 5, plot_.y, 10, plot_.height + 8}, {Pick::Kind::Control, id, std::llround(x_.high), -1, tip});
  area.pick.within = plot_;
  figure_.overlay.push_back(std::move(area));
}

void LineChart::addHorizontalGrip(double y, int64_t id, const std::string& tip) {
  const double u = y_.unit(y);
  if (!(u >= -1e-9 && u <= 1 + 1e-9)) return;
  const double py = plot_.bottom() - u * plot_.height;
  figure_.addOverlay(RectItem{{plot_.x - 3.5, py - 3.5, 7, 7}, theme_.canvas, theme_.accent, 1.5, 3.5});
  Item area = pickArea({plot_.x - 8, py - 5, plot_.width + 8, 10}, {Pick::Kind::Control, id, -1, -1, tip});
  area.pick.within = plot_;
  figure_.overlay.push_back(std::move(area));
}

void LineChart::addReadings(const std::string& head, const std::vector<Reading>& readings, const ViewFrame& frame) {
  const bool isFree = frame.pointer && plot_.contains(*frame.pointer) && frame.under.kind != Pick::Kind::Control && !frame.dragFrom;
  if (!isFree || readings.empty() || readings.front().points == nullptr || readings.front().points->empty()) return;
  const double u = (frame.pointer->x - plot_.x) / plot_.width;
  const auto nearest = [&](const std::vector<Point>& points) {
    return *std::min_element(points.begin(), points.end(),
                             [&](Point a, Point b) { return std::abs(x_.unit(a.x) - u) < std::abs(x_.unit(b.x) - u); });
  };
  const double x = nearest(*readings.front().points).x, px = at(x, y_.low).x;
  figure_.addOverlay(segment({px, plot_.y}, {px, plot_.bottom()}, theme_.inkSecond));
  const Font font = theme_.small(), mono{FontFace::Mono, theme_.smallSize, FontWeight::Regular};
  std::vector<std::pair<std::string, std::string>> rows;
  double labelWidth = 0, valueWidth = 0;
  const std::string title = head + " " + shortNumber(x, 5);
  for (const Reading& reading : readings) {
    std::string value = reading.text;
    if (reading.points != nullptr && !reading.points->empty()) {
      const Point p = nearest(*reading.points), dot = at(p.x, p.y);
      if (std::isfinite(dot.y) && dot.y >= plot_.y - 1 && dot.y <= plot_.bottom() + 1)
        figure_.addOverlay(RectItem{{dot.x - 3, dot.y - 3, 6, 6}, reading.color, theme_.canvas, 1, 3});
      value = shortNumber(p.y, 4);
    }
    rows.emplace_back(reading.label, std::move(value));
    labelWidth = std::max(labelWidth, frame.measure.width(reading.label, font));
    valueWidth = std::max(valueWidth, frame.measure.width(rows.back().second, mono));
  }
  const double line = theme_.smallSize * 1.45, pad = theme_.gap;
  const double width = std::max(labelWidth + pad * 1.5 + valueWidth, frame.measure.width(title, font)) + 2 * pad;
  const double height = line * static_cast<double>(rows.size() + 1) + pad;
  Rect box{px + pad * 1.5, frame.pointer->y - height - pad, width, height};
  if (box.right() > plot_.right()) box.x = px - pad * 1.5 - width;
  box.y = std::clamp(box.y, plot_.y, std::max(plot_.y, plot_.bottom() - height));
  figure_.addOverlay(RectItem{box, theme_.raised, theme_.line, 1, theme_.radius});
  double y = box.y + pad / 2 + line / 2;
  figure_.addOverlay(textAt({box.x + pad, y}, title, font, theme_.ink, AnchorX::Left, AnchorY::Middle));
  for (size_t i = 0; i < rows.size(); ++i) {
    y += line;
    figure_.addOverlay(textAt({box.x + pad, y}, rows[i].first, font, readings[i].color, AnchorX::Left, AnchorY::Middle));
    figure_.addOverlay(textAt({box.right() - pad, y}, rows[i].second, mono, theme_.ink, AnchorX::Right, AnchorY::Middle));
  }
}

double draggedX(const View::Gesture& gesture) {
  const Rect& plot = gesture.pick.within;
  return plot.width > 0 ? std::clamp((gesture.at.x - plot.x) / plot.width, 0.0, 1.0) : 0;
}

double draggedY(const View::Gesture& gesture) {
  const Rect& plot = gesture.pick.within;
  return plot.height > 0 ? std::clamp((plot.bottom() - gesture.at.y) / plot.height, 0.0, 1.0) : 0;
}

bool isOnControl(const View::Gesture& gesture, int64_t id) {
  return (gesture.kind == View::Gesture::Kind::Drag || gesture.kind == View::Gesture::Kind::Click) &&
         gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == id;
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
