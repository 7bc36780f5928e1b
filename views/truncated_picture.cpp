#include "views/truncated_picture.h"

#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/mechanisms/layer_heads.h"
#include "core/weights/truncated_head.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/map_sampling.h"
#include "views/option_values.h"

namespace headscope::views {
namespace {

constexpr double kCells = 256;
constexpr int64_t kBlock = 64;  // rows of the map at a time

/// Rows of the run's map into `pooled`, the largest weight of each step x step cells.
void poolMap(const core::HeadRun& run, int64_t count, int64_t step, core::Matrix& pooled, core::Job& job) {
  const int64_t cells = (count + step - 1) / step;
  pooled = core::Matrix::zeros(cells, cells);
  core::Matrix rows(kBlock, count);
  for (int64_t first = 0; first < count; first += kBlock) {
    job.checkpoint();
    const int64_t height = std::min(kBlock, count - first);
    run.mapRows(first, height, rows.view().rowsFrom(0, height), job);
    for (int64_t r = 0; r < height; ++r) {
      for (int64_t j = 0; j < count; ++j) {
        float& cell = pooled((first + r) / step, j / step);
        cell = std::max(cell, rows(r, j));
      }
    }
  }
}

void addStrip(Figure& figure, const Rect& area, const std::vector<double>& values, const std::string& title, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  double most = 1e-12;
  for (const double v : values) most = std::isfinite(v) ? std::max(most, v) : most;
  const double step = area.width / static_cast<double>(std::max<size_t>(1, values.size()));
  figure.add(textAt({area.x, area.y - t.gap / 2}, title + ", at most " + shortNumber(most), t.small(), t.inkSecond, AnchorX::Left,
                    AnchorY::Bottom));
  figure.add(segment({area.x, area.bottom()}, {area.right(), area.bottom()}, t.line));
  const size_t skip = std::max<size_t>(1, static_cast<size_t>(std::ceil(0.5 / step)));
  for (size_t i = 0; i < values.size(); i += skip) {
    double v = 0;
    for (size_t j = i; j < std::min(values.size(), i + skip); ++j) v = std::isfinite(values[j]) ? std::max(v, values[j]) : v;
    const Rect bar{area.x + static_cast<double>(i) * step, area.bottom() - area.height * v / most,
                   std::max(0.5, step * static_cast<double>(skip) - 0.5), area.height * v / most};
    figure.add(RectItem{bar, t.inkSecond, kTransparent, 0});
    figure.content.push_back(pickArea(
        {bar.x, area.y, bar.width, area.height},
        {Pick::Kind::Token, static_cast<int64_t>(i), -1, -1, "token " + std::to_string(i) + "\n" + title + "  " + shortNumber(v)}));
  }
}

std::vector<Point> curveOf(const std::vector<double>& errors) {
  std::vector<Point> points;
  for (size_t r = 0; r < errors.size(); ++r) points.push_back({static_cast<double>(r), errors[r]});
  return points;
}

}  // namespace

int64_t truncatedRank(const ViewInput& input, bool ov) {
  const core::ModelSpec& spec = input.model->spec();
  const int64_t full = std::max<int64_t>(1, ov ? spec.valueWidth : spec.headWidth);
  const double rank = numberIn(input.options, ov ? "rank_ov" : "rank_qk", std::max(1.0, std::floor(static_cast<double>(full) / 4)));
  return static_cast<int64_t>(std::clamp(rank, 0.0, static_cast<double>(full)));
}

std::shared_ptr<const ViewData> computeTruncated(const ViewInput& input, core::Job& job) {
  auto data = std::make_shared<TruncatedData>();
  data->head = input.selection.ref();
  data->modelName = input.trace->model().name();
  data->count = input.trace->count();
  try {
    const core::TruncatedHead head(input.trace, data->head, core::defaultFold(input.model->spec()), job);
    data->queryKeyFull = head.fullRank(core::Circuit::QK), data->valueOutputFull = head.fullRank(core::Circuit::OV);
    data->queryKeyRank = std::min(truncatedRank(input, false), data->queryKeyFull);
    data->valueOutputRank = std::min(truncatedRank(input, true), data->valueOutputFull);
    data->queryKeyErrors = head.weightErrors(core::Circuit::QK), data->valueOutputErrors = head.weightErrors(core::Circuit::OV);
    data->definition = head.definition(core::Circuit::QK) + "; " + head.definition(core::Circuit::OV);
    const auto run = head.run(data->queryKeyRank, data->valueOutputRank), whole = head.run(data->queryKeyFull, data->valueOutputFull);
    const int64_t step = int64_t{1} << levelFor(static_cast<double>(data->count), kCells);
    poolMap(*whole, data->count, step, data->truth, job);
    poolMap(*run, data->count, step, data->cut, job);
    core::ErrorOptions options;
    options.hasRankCorrelation = false;
    const core::HeadErrors errors = head.errors(*run, options, job);
    data->output = errors.output, data->meanKl = errors.meanKl, data->meanCosine = errors.meanCosine, data->rowKl = errors.kl;
    const core::LayerHeads layer(input.trace, data->head.layer, job);
    const core::WrittenNorm norm(layer.outputWeight(data->head.head));
    core::Matrix a(data->count, head.input().value.cols), b(data->count, head.input().value.cols);
    whole->output(a.view(), job), run->output(b.view(), job);
    std::vector<float> difference(static_cast<size_t>(a.cols()));
    for (int64_t i = 0; i < data->count; ++i) {
      for (int64_t c = 0; c < a.cols(); ++c) difference[static_cast<size_t>(c)] = b(i, c) - a(i, c);
      const double own = norm.squared(a.row(i), a.cols());
      data->rowOutput.push_back(own > 0 ? std::sqrt(norm.squared(difference.data(), a.cols()) / own) : std::nan(""));
    }
  } catch (const core::Error& e) {
    data->refusal = e.what();
  }
  return data;
}

Figure drawTruncated(const ViewInput& input, const TruncatedData& data, const ViewFrame& frame, const Rect& area) {
  const Theme& t = frame.theme;
  Figure figure;
  figure.background = t.canvas;
  figure.title = "Truncated head";
  if (!data.refusal.empty()) return emptyFigure(frame.size, "Head " + core::headName(data.head) + " can't be cut", data.refusal, t);
  const double gap = t.gap * 2, title = t.smallSize * 1.6, strip = t.smallSize * 2.6;
  const core::ViewOptions& options = input.options;
  const ValueScale scale = scaleFor(options, data.truth, options.hideFirst ? 1 : 0);
  const ColorRamp ramp = attentionRamp(t);
  const double bar = t.gap * 2.5 + 10 + colorBarTextWidth(scale, t, frame.measure);
  const bool isWide = area.width > 420 && area.height < area.width * 0.75;  // maps and chart side by side
  double side = isWide ? (area.width - bar - 2 * gap) / 3 : (area.width - bar - gap) / 2;
  if (area.height > 0) side = std::min(side, isWide ? area.height - title - 2 * (strip + title) : (area.height - title) * 0.42);
  side = std::max(20.0, side);
  const std::string cut = "W_QK at rank " + std::to_string(data.queryKeyRank) + " of " + std::to_string(data.queryKeyFull);
  for (const int i : {0, 1}) {
    const double x = area.x + i * (side + gap);
    figure.add(textAt({x, area.y + t.smallSize * 0.7}, i == 0 ? "head " + core::headName(data.head) : cut, t.small(), t.ink, AnchorX::Left,
                      AnchorY::Middle));
    const core::Matrix& values = i == 0 ? data.truth : data.cut;
    const MapPart all{0, static_cast<double>(values.rows()), 0, static_cast<double>(values.cols())};
    const Rect plot{x, area.y + title, side, side};
    addMap(figure, plot, values, all, scale, ramp, data.caches[i], t, frame.isPaper);
    figure.add(RectItem{plot, kTransparent, t.line, 0});
  }
  const double below = area.y + title + side;
  addColorBar(figure, {area.x + 2 * side + gap + t.gap * 1.5, area.y + title, 10, std::min(120.0, side - t.smallSize * 2)}, scale, ramp, t);
  std::vector<double> kl(data.rowKl.begin(), data.rowKl.end());
  const double stripWidth = 2 * side + gap;
  addStrip(figure, {area.x, below + title * 1.3, stripWidth, strip}, kl, "KL of each row, nats", frame);
  addStrip(figure, {area.x, below + title * 2.6 + strip, stripWidth, strip}, data.rowOutput, "output error of each row", frame);
  const double stripsEnd = below + title * 2.6 + 2 * strip;
  const double left = isWide ? area.x + 2 * side + gap + bar + t.smallSize * 3.6 : area.x + t.smallSize * 3.6;
  const double top = isWide ? area.y + title + t.smallSize * 1.4 : stripsEnd + t.smallSize * 4.6;
  const double right = area.x + area.width - t.smallSize * 3.4;
  const double height = isWide            ? side * 0.7
                        : area.height > 0 ? std::max(30.0, area.y + area.height - top - t.smallSize * 3.4)
                                          : area.width * 0.35;
  const double most = static_cast<double>(std::max(data.queryKeyFull, data.valueOutputFull));
  LineChart chart(figure, {left, top, std::max(20.0, right - left), height}, {0, std::max(1.0, most), false, "rank"},
                  {0, 1, false, "error of the weights"}, t);
  chart.addAxes();
  const std::vector<Point> qk = curveOf(data.queryKeyErrors), ov = curveOf(data.valueOutputErrors);
  chart.addLine(qk, t.query, 1.5), chart.addLine(ov, t.value, 1.5);
  // The curves fall: one name above its point, the other below, so that they never meet; at rank 0 within the chart.
  const auto name = [&](const std::vector<Point>& points, int64_t rank, const char* text, Color color, bool isAbove) {
    if (points.empty()) return;
    const Point at = points[std::min(points.size() - 1, static_cast<size_t>(rank))], p = chart.at(at.x, at.y);
    figure.add(RectItem{{p.x - 2.5, p.y - 2.5, 5, 5}, color, t.canvas, 0, 2.5});
    const double line = t.smallSize * 1.2, above = std::max(p.y - t.gap * 0.5, chart.plot().y + line);
    const double below = std::min(p.y + t.gap * 0.5 + line, chart.plot().bottom());
    const bool hasLeft = p.x - frame.measure.width(text, t.small()) - t.gap > chart.plot().x;
    if (isAbove)
      figure.add(textAt({p.x + (above > p.y ? line * 1.5 : t.gap * 0.75), above}, text, t.small(), color, AnchorX::Left, AnchorY::Bottom));
    else
      figure.add(textAt({p.x + (hasLeft ? -t.gap * 0.75 : t.gap * 0.75), hasLeft ? below : below + line}, text, t.small(), color,
                        hasLeft ? AnchorX::Right : AnchorX::Left, AnchorY::Bottom));
  };
  name(qk, data.queryKeyRank, "QK", t.query, true), name(ov, data.valueOutputRank, "OV", t.value, false);
  chart.addReadings("rank", {{"QK", &qk, t.query}, {"OV", &ov, t.value}}, frame);
  const double words = top + height + t.smallSize * 4.8;
  const std::string outputWords = "output error " + shortNumber(100 * data.output) + " %, W_OV at rank " +
                                  std::to_string(data.valueOutputRank) + " of " + std::to_string(data.valueOutputFull);
  const std::string mapWords = "map: KL " + shortNumber(data.meanKl) + " nats, cosine " + shortNumber(data.meanCosine);
  const double wordsY = isWide ? words : stripsEnd + t.smallSize * 1.3;
  figure.add(textAt({isWide ? left : area.x, wordsY}, outputWords + (isWide ? "" : "; " + mapWords), t.small(), t.ink, AnchorX::Left,
                    AnchorY::Middle));
  if (isWide) figure.add(textAt({left, wordsY + t.smallSize * 1.5}, mapWords, t.small(), t.ink, AnchorX::Left, AnchorY::Middle));
  const double bottom = std::max(isWide ? wordsY + t.smallSize * 2.5 : top + height + t.smallSize * 3.4, stripsEnd);
  figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : bottom + t.gap};
  figure.caption = "Head " + core::headName(data.head) + " of " + data.modelName + " on the prompt, and with " + cut +
                   " and W_OV at rank " + std::to_string(data.valueOutputRank) + " of " + std::to_string(data.valueOutputFull) + ": " +
                   mapWords + ", " + outputWords + ". " + data.definition + ".";
  return figure;
}

}  // namespace headscope::views
