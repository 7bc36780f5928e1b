#include "views/spectra_charts.h"

#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/option_values.h"

namespace headscope::views {
namespace {

bool isNormalised(const core::ViewOptions& options) { return numberIn(options, "normalised", 0) > 0; }

/// Where a chart is low its x axis is not named: what the picture is of says it.
bool hasAxisTitle(const Rect& area, const Theme& t) { return area.height >= 11 * t.smallSize; }

/// widest: label at a line's end.
Rect plotIn(const Rect& area, bool xLabels, const std::string& widest, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const double left = t.smallSize * 3.6, top = t.smallSize * 2,
               right = std::max(t.smallSize * 4.6, frame.measure.width(widest, t.small()) + t.gap * 1.5),
               bottom = t.smallSize * (!xLabels                ? 0.8
                                       : hasAxisTitle(area, t) ? 3.4
                                                               : 2.0);
  return {area.x + left, area.y + top, std::max(10.0, area.width - left - right), std::max(10.0, area.height - top - bottom)};
}

std::string widestLabel(const ViewInput& input, bool hasBase, bool isWhole) {
  const core::ModelSpec& spec = input.model->spec();
  return (isWhole ? "layer " + std::to_string(spec.layers - 1) : core::headName({spec.layers - 1, spec.heads - 1})) +
         (hasBase ? " base" : "");
}

double sumOfSquares(const core::Spectrum& s) {
  double total = 0;
  for (const double v : s.sigma) total += v * v;
  return total;
}

}  // namespace

std::string RankMark::label() const {
  if (rank <= 0) return {};
  return shortNumber(100 * (1 - epsilon), 5) + " %: rank " + std::to_string(rank);
}

RankMark rankMark(const core::ViewOptions& options, int which, const core::Spectrum& spectrum) {
  const std::string number = std::to_string(which);
  RankMark mark;
  mark.epsilon = std::clamp(numberIn(options, "mark_" + number, which == 1 ? 0.01 : 0.001), 0.0, 1.0);
  const double set = numberIn(options, "rank_" + number, 0);
  const double total = sumOfSquares(spectrum);
  if (!spectrum.isFinite || !(total > 0)) return {mark.epsilon, 0};
  if (!(set >= 1)) return {mark.epsilon, core::effectiveRank(spectrum.sigma, mark.epsilon)};
  mark.rank = static_cast<int64_t>(std::min(set, static_cast<double>(spectrum.count())));
  double left = 0;
  for (size_t i = static_cast<size_t>(mark.rank); i < spectrum.sigma.size(); ++i) left += spectrum.sigma[i] * spectrum.sigma[i];
  mark.epsilon = left / total;
  return mark;
}

const SpectrumLine* SpectraCharts::selected() const {
  const core::HeadRef head = lineOfSelection(input, data.isByKeyValueHead);
  for (const SpectrumLine& line : data.lines) {
    if (line.head == head || (data.isWhole && line.head.layer == head.layer)) return &line;
  }
  return nullptr;
}

double SpectraCharts::longest() const {
  int64_t count = 2;
  for (const SpectrumLine& line : data.lines) count = std::max(count, line.spectrum.signal());
  return static_cast<double>(count);
}

/// Index against value, values under the noise left out; or rank against the share of energy beyond it.
SpectraCharts::Points SpectraCharts::pointsOf(const core::Spectrum& s, bool isEnergy) const {
  Points points;
  if (!s.isFinite) return points;
  const double total = sumOfSquares(s), scale = isNormalised(input.options) && s.largest() > 0 ? s.largest() : 1;
  double left = total;
  const double end = longest();
  for (size_t i = 0; i < s.sigma.size() && static_cast<double>(i) < end; ++i) {
    const double v = s.sigma[i];
    left -= v * v;
    if (isEnergy && total > 0) {
      // Nothing left is below every axis; a log axis has no zero.
      points.push_back({static_cast<double>(i + 1), std::max(left / total, 1e-12)});
    } else if (!isEnergy && v > s.noise) {
      points.push_back({static_cast<double>(i + 1), v / scale});
    }
  }
  return points;
}

void SpectraCharts::addLines(Figure& figure, LineChart& chart, bool isEnergy) const {
  const Theme& t = frame.theme;
  const SpectrumLine* own = selected();
  const auto isOwn = [&](const SpectrumLine& line) { return &line == own; };
  std::vector<Points> points;
  for (const SpectrumLine& line : data.lines) points.push_back(pointsOf(line.spectrum, isEnergy));

  // The curve nearest to the mouse answers it.
  const SpectrumLine* nearest = nullptr;
  double least = 14;
  if (frame.pointer && chart.plot().contains(*frame.pointer)) {
    for (size_t i = 0; i < points.size(); ++i) {
      for (const Point& v : points[i]) {
        const Point p = chart.at(v.x, v.y);
        const double away = std::hypot((p.x - frame.pointer->x) * 0.3, p.y - frame.pointer->y);
        if (std::abs(p.x - frame.pointer->x) < 24 && away < least) least = away, nearest = &data.lines[i];
      }
    }
  }
  const bool hasRoom = static_cast<double>(data.lines.size()) * t.smallSize * 1.25 <= chart.plot().height;
  const double belowMarks = own != nullptr ? chart.plot().y + t.smallSize * 3.7 : chart.plot().y;    // their names take two rows
  const auto nameAtEnd = [&](const Point& last, double row, const std::string& name, Color color) {  // a spectrum that ends early
    const Point end = chart.at(last.x, last.y);
    figure.add(textAt({end.x + t.gap * 0.75, std::max(end.y, belowMarks) + row * t.smallSize * 1.25}, name, t.small(), color, AnchorX::Left,
                      AnchorY::Middle));
  };
  std::vector<LineLabel> labels;
  const Points* ownPoints = nullptr;
  const Points* nearPoints = nullptr;
  for (size_t i = 0; i < points.size(); ++i) {
    const SpectrumLine& line = data.lines[i];
    if (isOwn(line)) ownPoints = &points[i];
    if (&line == nearest) nearPoints = &points[i];
    const bool isMarked = !frame.isPaper && (&line == nearest || isBrushed(input.selection, line.head) ||
                                             line.head == core::HeadRef{frame.hover.layer, frame.hover.head});
    if (!isOwn(line))
      chart.addLine(points[i], isMarked ? t.ink : t.inkSecond.withAlpha(0.45), isMarked ? 1.5 : 0.75,
                    {Pick::Kind::Head, line.head.layer, line.head.head, -3, {}});
    const bool isNamed = !points[i].empty() && (hasRoom || isOwn(line) || isMarked);
    if (isNamed && points[i].back().x < 0.95 * longest() && !isEnergy) {
      nameAtEnd(points[i].back(), 0, lineName(data, line.head), isOwn(line) ? t.accent : t.inkSecond);
    } else if (isNamed) {
      labels.push_back({points[i].back().y, lineName(data, line.head), isOwn(line) ? t.accent : isMarked ? t.ink : t.inkSecond});
    }
  }
  Points basePoints;
  for (const SpectrumLine& base : data.base) {
    if (own == nullptr || !(base.head == own->head)) continue;
    basePoints = pointsOf(base.spectrum, isEnergy);
    chart.addLine(basePoints, t.categories[4], 1.5);
    if (basePoints.empty()) continue;
    const std::string name = lineName(data, base.head) + " base";
    if (basePoints.back().x < 0.95 * longest() && !isEnergy) {
      nameAtEnd(basePoints.back(), 1, name, t.categories[4]);  // below the name of the line with the adapter
    } else {
      labels.push_back({basePoints.back().y, name, t.categories[4]});
    }
  }
  if (own != nullptr && ownPoints != nullptr)
    chart.addLine(*ownPoints, t.accent, frame.isPaper ? 1.5 : 2, {Pick::Kind::Head, own->head.layer, own->head.head, -3, {}});
  if (!isEnergy) chart.addEndLabels(labels);
  addMarks(figure, chart, isEnergy);

  std::vector<Reading> readings;
  if (nearest != nullptr && nearest != own) readings.push_back({lineName(data, nearest->head), nearPoints, t.ink});
  if (own != nullptr) readings.push_back({lineName(data, own->head) + (basePoints.empty() ? "" : " with adapter"), ownPoints, t.accent});
  if (!basePoints.empty()) readings.push_back({lineName(data, own->head) + " base", &basePoints, t.categories[4]});
  const SpectrumLine* told = nearest != nullptr ? nearest : own;
  if (told != nullptr && told->spectrum.isFinite) {
    const core::RankMeasures m = core::rankMeasures(told->spectrum.sigma);
    const std::string name = lineName(data, told->head);
    readings.push_back({name + " rank at 99 %", nullptr, t.inkSecond, std::to_string(m.effectiveAt1Percent)});
    readings.push_back({name + " at 99.9 %", nullptr, t.inkSecond, std::to_string(m.effectiveAt01Percent)});
    readings.push_back({name + " stable rank", nullptr, t.inkSecond, shortNumber(m.stable)});
    if (told->tail.isFitted) {
      readings.push_back({name + " power law alpha", nullptr, t.inkSecond, shortNumber(told->tail.alpha)});
      readings.push_back(
          {name + " fitted to squares", nullptr, t.inkSecond, shortNumber(told->tail.xmin) + " to " + shortNumber(told->tail.xmax)});
    }
    if (std::isfinite(told->biasShare)) readings.push_back({name + " mean's share", nullptr, t.inkSecond, shortNumber(told->biasShare)});
  }
  chart.addReadings(isEnergy ? "beyond rank" : "index", readings, frame);
}

void SpectraCharts::addMarks(Figure& figure, LineChart& chart, bool isEnergy) const {
  const Theme& t = frame.theme;
  const SpectrumLine* own = selected();
  if (own == nullptr) return;
  const Rect& plot = chart.plot();
  std::vector<LineLabel> labels;
  double row = plot.y + t.smallSize * 0.9;
  for (const int which : {1, 2}) {
    const RankMark mark = rankMark(input.options, which, own->spectrum);
    if (mark.rank <= 0) continue;
    const double x = chart.at(static_cast<double>(mark.rank), 1).x;
    const Color line = t.accent.withAlpha(0.7);
    if (isEnergy) {
      const double y = chart.at(1, std::max(mark.epsilon, kLeastEnergy)).y;
      figure.add(segment({plot.x, y}, {x, y}, line, frame.isPaper ? 0.5 : 1));
      figure.add(segment({x, y}, {x, plot.bottom()}, line, frame.isPaper ? 0.5 : 1));
      labels.push_back({std::max(mark.epsilon, kLeastEnergy), mark.label(), t.accent});
      if (!frame.isPaper)
        chart.addHorizontalGrip(std::max(mark.epsilon, kLeastEnergy), kEnergyGrip + which - 1, "Energy that a rank may leave out: drag");
    } else {
      figure.add(segment({x, plot.y}, {x, plot.bottom()}, line, frame.isPaper ? 0.5 : 1));
      const double width = frame.measure.width(mark.label(), t.small());
      const bool isLeft = x - plot.x > plot.width / 2;
      const double left = isLeft ? x - t.gap * 0.75 - width : x + 2;
      if (row + t.smallSize * 1.4 < plot.bottom() && width + 4 < plot.width) {
        figure.add(RectItem{{left - 2, row - t.smallSize * 0.7, width + 4, t.smallSize * 1.4}, t.canvas.withAlpha(0.9), kTransparent, 0});
        figure.add(textAt({left, row}, mark.label(), t.small(), t.accent, AnchorX::Left, AnchorY::Middle));
        row += t.smallSize * 1.4;
      }
      if (!frame.isPaper) chart.addVerticalGrip(static_cast<double>(mark.rank), kRankGrip + which - 1, "Rank threshold: drag");
    }
  }
  chart.addMarkLabels(std::move(labels));
}

void SpectraCharts::addValues(Figure& figure, const Rect& area, bool xLabels) const {
  double high = 0, low = 0;
  for (const SpectrumLine& line : data.lines) {
    for (const Point& p : pointsOf(line.spectrum, false)) {
      high = std::max(high, p.y);
      low = low > 0 ? std::min(low, p.y) : p.y;
    }
  }
  if (!(high > 0)) high = 1;
  const std::string label = data.matrix + (isNormalised(input.options) ? ", singular value / largest" : ", singular value");
  ChartAxis y{0, high * 1.03, false, label};
  // By itself logarithmic where there are decades to show.
  const std::string axis = wordIn(input.options, "axis", "");
  const bool isUnset = axis.empty() && input.options.scale == core::ColorScale::SquareRoot;
  const bool isLog = axis == "log" || (axis.empty() && input.options.scale == core::ColorScale::Log) || (isUnset && high > 30 * low);
  if (isLog) y = logAxis(std::max(low * 0.9, high * 1e-8), high * 1.1, label);
  LineChart chart(figure, plotIn(area, xLabels, widestLabel(input, !data.base.empty(), data.isWhole), frame),
                  {1, longest(), false, "index"}, y, frame.theme);
  chart.addAxes(xLabels, hasAxisTitle(area, frame.theme));
  addLines(figure, chart, false);
}

void SpectraCharts::addEnergy(Figure& figure, const Rect& area) const {
  LineChart chart(figure, plotIn(area, true, widestLabel(input, !data.base.empty(), data.isWhole), frame), {1, longest(), false, "rank"},
                  {kLeastEnergy, 1, true, "energy left out beyond the rank"}, frame.theme);
  chart.addAxes(true, hasAxisTitle(area, frame.theme));
  addLines(figure, chart, true);
}

void addOffsetChart(Figure& figure, const ViewInput& input, const OffsetData& data, const ViewFrame& frame, const Rect& area,
                    OffsetMeasure measure, bool xLabels) {
  const Theme& t = frame.theme;
  double low = 1e300, high = 0;
  const bool isStable = measure == OffsetMeasure::StableRank;
  const auto pointsOf = [isStable](const core::OffsetCurve& curve) {
    std::vector<Point> points;
    for (const core::OffsetPoint& p : curve.points) {
      if (p.isFinite)
        points.push_back(
            {static_cast<double>(p.offset), isStable ? p.measures.stable : static_cast<double>(p.measures.effectiveAt1Percent)});
    }
    return points;
  };
  std::vector<std::vector<Point>> all;
  for (const core::OffsetCurve& curve : data.curves) {
    all.push_back(pointsOf(curve));
    for (const Point& p : all.back()) low = std::min(low, p.y), high = std::max(high, p.y);
  }
  if (low > high) low = 0, high = 1;
  const double last = static_cast<double>(lastOffsetIn(input)), pad = std::max(isStable ? 0.05 * high : 1.0, (high - low) * 0.08);
  const std::string name = isStable ? ", stable rank" : ", rank at 99 % energy";
  LineChart chart(figure, plotIn(area, xLabels, widestLabel(input, !data.base.empty(), false), frame),
                  {0, last, false, "offset of the query after its key, tokens"},
                  {std::max(0.0, low - pad), high + pad, false, data.matrix + "(offset)" + name, !isStable}, t);
  chart.addAxes(xLabels, hasAxisTitle(area, t));
  const std::vector<Point>* own = nullptr;
  std::vector<LineLabel> labels;
  for (size_t i = 0; i < all.size(); ++i) {
    const core::HeadRef head{data.curves[i].layer, data.curves[i].head};
    const bool isOwn = head == input.selection.ref();
    const bool isMarked =
        !frame.isPaper && (isBrushed(input.selection, head) || head == core::HeadRef{frame.hover.layer, frame.hover.head});
    if (isOwn) own = &all[i];
    if (!isOwn)
      chart.addLine(all[i], isMarked ? t.ink : t.inkSecond.withAlpha(0.45), isMarked ? 1.5 : 0.75,
                    {Pick::Kind::Head, head.layer, head.head, -3, "Head " + core::headName(head)});
    if (!all[i].empty() && (isOwn || isMarked || static_cast<double>(all.size()) * t.smallSize * 1.25 <= chart.plot().height))
      labels.push_back({all[i].back().y, core::headName(head), isOwn ? t.accent : isMarked ? t.ink : t.inkSecond});
  }
  std::vector<Point> base;
  if (!data.base.empty()) base = pointsOf(data.base.front());
  if (!base.empty()) {
    chart.addLine(base, t.categories[4], 1.5);
    labels.push_back({base.back().y, core::headName(input.selection.ref()) + " base", t.categories[4]});
  }
  if (own != nullptr) chart.addLine(*own, t.accent, frame.isPaper ? 1.5 : 2);
  chart.addEndLabels(labels);
  const double offset = static_cast<double>(offsetIn(input));
  chart.addVertical(offset, t.accent.withAlpha(0.7), {});
  if (!frame.isPaper) chart.addVerticalGrip(offset, kOffsetGrip, "Offset at which W_QK is seen: drag");
  std::vector<Reading> readings;
  if (own != nullptr) readings.push_back({core::headName(input.selection.ref()) + name, own, t.accent});
  if (!base.empty()) readings.push_back({core::headName(input.selection.ref()) + " base", &base, t.categories[4]});
  chart.addReadings("offset", readings, frame);
}

}  // namespace headscope::views
