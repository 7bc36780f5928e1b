// Spectra: singular values of one matrix: every head of the selected layer, or the selected head of every layer.
// options.words: matrix ("W_QK"), across ("heads" or "layers"), form ("values" or "energy"). options.numbers: normalised (0, 1),
// offset (W_QK under RoPE), mark_1, mark_2 (energy left out, 0.01 and 0.001). options.scale: linear, or log for anything else.
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/weights/spectra.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

std::string wordOf(const core::ViewOptions& options, const char* key, const char* fallback) {
  const auto it = options.words.find(key);
  return it == options.words.end() || it->second.empty() ? fallback : it->second;
}

double numberOf(const core::ViewOptions& options, const char* key, double fallback) {
  const auto it = options.numbers.find(key);
  return it == options.numbers.end() ? fallback : it->second;
}

struct SpectrumLine {
  core::HeadRef head;
  core::Spectrum spectrum;
};

struct SpectraData : ViewData {
  std::string matrix, modelName;
  bool isFolded = false, isByKeyValueHead = false;
  std::vector<SpectrumLine> lines;
  std::vector<SpectrumLine> base;  // without the adapter, when one is on
  std::vector<std::string> notes;
};

std::string matrixOf(const ViewInput& input) {
  std::string matrix = wordOf(input.options, "matrix", "W_QK");
  const double offset = numberOf(input.options, "offset", 0);
  if (offset != 0 && matrix == "W_QK" && input.model->spec().positions == core::PositionKind::Rope) {
    matrix += "@" + std::to_string(static_cast<int64_t>(offset));
  }
  return matrix;
}

bool isAcrossLayers(const ViewInput& input) { return wordOf(input.options, "across", "heads") == "layers"; }

std::vector<SpectrumLine> linesOf(const core::Model& model, const ViewInput& input, SpectraData& data, core::Job& job) {
  core::SpectraOptions options;
  options.fold = core::defaultFold(model.spec());
  options.matrices = {data.matrix};
  if (const size_t at = data.matrix.find('@'); at != std::string::npos) options.offsets = {std::stoll(data.matrix.substr(at + 1))};
  std::vector<SpectrumLine> lines;
  const int64_t selected = input.selection.layer;
  for (int64_t l = 0; l < model.spec().layers; ++l) {
    if (!isAcrossLayers(input) && l != selected) continue;
    job.report(static_cast<double>(l) / static_cast<double>(model.spec().layers), "layer " + std::to_string(l));
    core::LayerSpectra layer = core::layerSpectra(model, l, options, job);
    for (const std::string& note : layer.notes) data.notes.push_back("layer " + std::to_string(l) + ": " + note);
    core::MatrixSpectra& matrix = layer.matrices.front();
    const int64_t count = static_cast<int64_t>(matrix.heads.size());
    data.isByKeyValueHead = count < model.spec().heads;
    const int64_t chosen = data.isByKeyValueHead ? model.spec().kvHeadOf(input.selection.head) : input.selection.head;
    for (int64_t h = 0; h < count; ++h) {
      if (isAcrossLayers(input) && h != std::min(chosen, count - 1)) continue;
      lines.push_back({{l, h}, std::move(matrix.heads[static_cast<size_t>(h)])});
    }
  }
  return lines;
}

std::string tipOf(const SpectraData& data, const SpectrumLine& line) {
  const core::RankMeasures m = core::rankMeasures(line.spectrum.sigma);
  std::string tip = std::string(data.isByKeyValueHead ? "Key/value head " : "Head ") + headName(line.head) + ", " + data.matrix;
  if (!line.spectrum.isFinite) return tip + "\nNaN or infinite weights";
  tip += "\nrank at 99 %  " + std::to_string(m.effectiveAt1Percent) + "\nrank at 99.9 %  " + std::to_string(m.effectiveAt01Percent) +
         "\nlargest  " + shortNumber(line.spectrum.largest()) + "\nstable rank  " + shortNumber(m.stable);
  return tip;
}

/// Index against value; values under the noise are left out. Energy: index against the share of energy in the first i.
std::vector<Point> pointsOf(const core::Spectrum& s, bool isEnergy, bool isNormalised) {
  std::vector<Point> points;
  double total = 0, sum = 0;
  for (const double v : s.sigma) total += v * v;
  for (size_t i = 0; i < s.sigma.size(); ++i) {
    const double v = s.sigma[i];
    sum += v * v;
    if (isEnergy) {
      points.push_back({static_cast<double>(i + 1), total > 0 ? sum / total : 0});
    } else if (v > s.noise) {
      points.push_back({static_cast<double>(i + 1), isNormalised && s.largest() > 0 ? v / s.largest() : v});
    }
  }
  return points;
}

class SpectraView : public View {
 public:
  std::string_view name() const override { return "spectra"; }
  std::string_view title() const override { return "Spectra"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    if (!input.model) return {};
    if (isAcrossLayers(input)) return matrixOf(input) + " of head " + std::to_string(input.selection.head) + " in every layer";
    return matrixOf(input) + " of layer " + std::to_string(input.selection.layer);
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    const std::string which =
        isAcrossLayers(input) ? "h" + std::to_string(input.selection.head) : "l" + std::to_string(input.selection.layer);
    return "spectra:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + matrixOf(input) + ":" + which;
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<SpectraData>();
    data->matrix = matrixOf(input);
    data->modelName = input.model->name();
    data->isFolded = core::defaultFold(input.model->spec()) == core::Fold::On;
    data->lines = linesOf(*input.model, input, *data, job);
    if (input.model->adapter() != nullptr) data->base = linesOf(*input.model->withoutAdapter(), input, *data, job);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    const auto* spectra = dynamic_cast<const SpectraData*>(data);
    if (!input.model) return emptyFigure(frame.size, "Singular values of every head", "Open a model folder", frame.theme);
    if (spectra == nullptr || spectra->lines.empty())
      return emptyFigure(frame.size, "Singular values of " + subject(input), "Computing", frame.theme);
    return drawChart(input, *spectra, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "matrix", "index", "sigma", "is_signal"}, {}};
    if (!input.model) return table;
    const auto data = std::static_pointer_cast<const SpectraData>(compute(input, {}, job));
    for (const SpectrumLine& line : data->lines) {
      for (size_t i = 0; i < line.spectrum.sigma.size(); ++i) {
        const double v = line.spectrum.sigma[i];
        table.rows.push_back({std::to_string(line.head.layer), std::to_string(line.head.head), data->matrix, std::to_string(i + 1),
                              shortNumber(v, 7), v > line.spectrum.noise ? "1" : "0"});
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model) return false;
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = std::min(gesture.pick.b, input.model->spec().heads - 1);
      return true;
    }
    if (gesture.kind == Gesture::Kind::Wheel && matrixOf(input).starts_with("W_QK") &&
        input.model->spec().positions == core::PositionKind::Rope) {
      options.numbers["offset"] = std::clamp(numberOf(options, "offset", 0) + (gesture.delta.y > 0 ? 1 : -1), 0.0, 1e6);
      return true;
    }
    return false;
  }

 private:
  static Figure drawChart(const ViewInput& input, const SpectraData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : frame.size.width * 0.62};
    figure.background = t.canvas;
    figure.title = "Spectra";
    const bool isEnergy = wordOf(input.options, "form", "values") == "energy", isNormalised = numberOf(input.options, "normalised", 0) > 0;
    double high = 0, low = 0, rank = 1;
    for (const SpectrumLine& line : data.lines) {
      rank = std::max(rank, static_cast<double>(line.spectrum.count()));
      for (const Point& p : pointsOf(line.spectrum, isEnergy, isNormalised)) {
        if (!std::isfinite(p.y)) continue;
        high = std::max(high, p.y);
        if (p.y > 0) low = low > 0 ? std::min(low, p.y) : p.y;
      }
    }
    if (!(high > 0)) high = 1;
    const bool isLog = !isEnergy && input.options.scale != core::ColorScale::Linear;
    ChartAxis y{0, isEnergy ? 1 : high * 1.03, false,
                isEnergy       ? "energy in the first"
                : isNormalised ? "share of the largest"
                               : "singular value"};
    if (isLog) y.isLog = true, y.low = std::max(low * 0.9, high * 1e-8), y.high = high * 1.1;
    const double left = t.smallSize * 4.6, top = t.smallSize * 2.8, right = t.smallSize * 4.5, bottom = t.smallSize * 3.8;
    LineChart chart(figure, {left, top, figure.size.width - left - right, figure.size.height - top - bottom},
                    {1, std::max(2.0, rank), false, "index"}, y, t);
    chart.addAxes();

    const SpectrumLine* selected = nullptr;
    for (const SpectrumLine& line : data.lines) {
      const int64_t head = data.isByKeyValueHead ? input.model->spec().kvHeadOf(input.selection.head) : input.selection.head;
      if (line.head.layer == input.selection.layer && line.head.head == head) selected = &line;
      const bool isHover = !frame.isPaper && line.head == core::HeadRef{frame.hover.layer, frame.hover.head};
      chart.addLine(pointsOf(line.spectrum, isEnergy, isNormalised), t.inkSecond.withAlpha(isHover ? 1.0 : 0.45), isHover ? 1.5 : 0.75,
                    {Pick::Kind::Head, line.head.layer, line.head.head, -1, tipOf(data, line)});
    }
    if (selected != nullptr) addSelected(chart, figure, data, *selected, input, isEnergy, isNormalised, t);
    figure.caption = "Singular values of " + data.matrix +
                     (isAcrossLayers(input) ? " of head " + std::to_string(input.selection.head) + " in every layer"
                                            : " of every head of layer " + std::to_string(input.selection.layer)) +
                     " of " + data.modelName + ", norm gains " + (data.isFolded ? "folded" : "not folded") + ".";
    for (const std::string& note : data.notes) figure.caption += " " + note + ".";
    figure.add(textAt({figure.size.width - t.gap, top - t.gap}, data.isFolded ? "norms folded" : "norms not folded", t.small(), t.inkSecond,
                      AnchorX::Right, AnchorY::Bottom));
    return figure;
  }

  static void addSelected(LineChart& chart, Figure& figure, const SpectraData& data, const SpectrumLine& line, const ViewInput& input,
                          bool isEnergy, bool isNormalised, const Theme& t) {
    for (const SpectrumLine& base : data.base) {
      if (base.head == line.head)
        chart.addLine(pointsOf(base.spectrum, isEnergy, isNormalised), t.categories[4], 1.5,
                      {Pick::Kind::Head, line.head.layer, line.head.head, -1, "without the adapter\n" + tipOf(data, base)});
    }
    const std::vector<Point> points = pointsOf(line.spectrum, isEnergy, isNormalised);
    chart.addLine(points, t.accent, 2, {Pick::Kind::Head, line.head.layer, line.head.head, -1, tipOf(data, line)});
    if (points.empty()) return;
    const Point end = chart.at(points.back().x, points.back().y);
    figure.add(textAt({chart.plot().right() + 4, std::clamp(end.y, chart.plot().y, chart.plot().bottom())}, headName(line.head), t.small(),
                      t.accent, AnchorX::Left, AnchorY::Middle));
    int row = 0;
    for (const double epsilon : {numberOf(input.options, "mark_1", 0.01), numberOf(input.options, "mark_2", 0.001)}) {
      const int64_t rank = core::effectiveRank(line.spectrum.sigma, epsilon);
      if (rank > 0)
        chart.addVertical(static_cast<double>(rank), t.accent.withAlpha(0.7),
                          shortNumber(100 * (1 - epsilon), 5) + " %: " + std::to_string(rank), row);
      ++row;
    }
  }
};

}  // namespace

const View& spectraView() {
  static const SpectraView view;
  return view;
}

}  // namespace headscope::views
