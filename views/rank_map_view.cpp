// Rank map: layers down, heads across, coloured by any scalar: a rank or norm of any matrix, or a score of the prompt.
// options.words: matrix ("W_QK"), measure ("effective_rank", "effective_rank_0.1", "stable_rank", "entropy_rank",
// "participation_ratio", "frobenius_norm", "largest"), or score (a name of HeadScores, in place of both).
#include <algorithm>
#include <cmath>

#include "core/weights/spectra.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/head_grid.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr const char* kMeasures[] = {"effective_rank",      "effective_rank_0.1", "stable_rank", "entropy_rank",
                                     "participation_ratio", "frobenius_norm",     "largest"};

std::string wordOf(const core::ViewOptions& options, const char* key, const std::string& fallback) {
  const auto it = options.words.find(key);
  return it == options.words.end() || it->second.empty() ? fallback : it->second;
}

double valueOf(const core::Spectrum& s, const std::string& measure) {
  if (!s.isFinite) return std::nan("");
  const core::RankMeasures m = core::rankMeasures(s.sigma);
  if (measure == "effective_rank_0.1") return static_cast<double>(m.effectiveAt01Percent);
  if (measure == "stable_rank") return m.stable;
  if (measure == "entropy_rank") return m.entropy;
  if (measure == "participation_ratio") return m.participation;
  if (measure == "frobenius_norm") return m.frobenius;
  if (measure == "largest") return s.largest();
  return static_cast<double>(m.effectiveAt1Percent);
}

std::string wordsFor(const std::string& measure) {
  if (measure == "effective_rank") return "rank at 99 % energy";
  if (measure == "effective_rank_0.1") return "rank at 99.9 % energy";
  if (measure == "stable_rank") return "stable rank";
  if (measure == "entropy_rank") return "entropy rank";
  if (measure == "participation_ratio") return "participation ratio";
  if (measure == "frobenius_norm") return "Frobenius norm";
  return "largest singular value";
}

struct RankMapData : ViewData {
  std::string matrix, modelName;
  bool isFolded = false;
  int64_t heads = 0;
  std::vector<core::MatrixSpectra> layers;  // the matrix of each layer
  std::vector<std::string> notes;
  const core::Spectrum& at(int64_t layer, int64_t head) const {
    const auto& all = layers[static_cast<size_t>(layer)].heads;
    return all[static_cast<size_t>(head) * all.size() /
               static_cast<size_t>(heads)];  // key/value heads stand under each of their query heads
  }
};

class RankMapView : public View {
 public:
  std::string_view name() const override { return "rank_map"; }
  std::string_view title() const override { return "Rank map"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    const std::string score = wordOf(input.options, "score", "");
    if (!score.empty()) return score;
    return wordOf(input.options, "matrix", "W_QK") + ", " + wordsFor(wordOf(input.options, "measure", kMeasures[0]));
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    return "rank_map:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + wordOf(input.options, "matrix", "W_QK");
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<RankMapData>();
    const core::Model& model = *input.model;
    data->matrix = wordOf(input.options, "matrix", "W_QK");
    data->modelName = model.name();
    data->heads = model.spec().heads;
    core::SpectraOptions options;
    options.fold = core::defaultFold(model.spec());
    options.matrices = {data->matrix};
    data->isFolded = options.fold == core::Fold::On;
    core::eachLayerSpectra(model, options, core::DiskCache::ofUser(), job, [&](core::LayerSpectra layer) {
      for (const std::string& note : layer.notes) data->notes.push_back("layer " + std::to_string(layer.layer) + ": " + note);
      data->layers.push_back(std::move(layer.matrices.front()));
    });
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "Ranks and norms of every head", "Open a model folder", frame.theme);
    const auto* map = dynamic_cast<const RankMapData*>(data);
    if (map == nullptr) return drawHeadGridLoading(input.model->spec().layers, input.model->spec().heads, input.selection, frame);
    return drawMap(input, *map, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "matrix"}, {}};
    for (const char* measure : kMeasures) table.columns.emplace_back(measure);
    if (!input.model) return table;
    const auto data = std::static_pointer_cast<const RankMapData>(compute(input, {}, job));
    for (int64_t l = 0; l < static_cast<int64_t>(data->layers.size()); ++l) {
      for (int64_t h = 0; h < data->heads; ++h) {
        std::vector<std::string> row{std::to_string(l), std::to_string(h), data->matrix};
        for (const char* measure : kMeasures) row.push_back(shortNumber(valueOf(data->at(l, h), measure), 7));
        table.rows.push_back(std::move(row));
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size size, core::ViewOptions& options,
              core::Selection& selection) const override {
    if (!input.model) return false;
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      selection.brushed.clear();
      return true;
    }
    if (gesture.kind != Gesture::Kind::Drag || gesture.isPan) return false;
    const core::ModelSpec& spec = input.model->spec();
    const Layout layout = layOut(spec.layers, spec.heads, size, 90, 13);
    const double x0 = std::min(gesture.start.x, gesture.at.x), x1 = std::max(gesture.start.x, gesture.at.x);
    const double y0 = std::min(gesture.start.y, gesture.at.y), y1 = std::max(gesture.start.y, gesture.at.y);
    selection.brushed.clear();
    for (int64_t l = 0; l < spec.layers; ++l) {
      for (int64_t h = 0; h < spec.heads; ++h) {
        const Rect cell = layout.at(l, h);
        if (cell.right() >= x0 && cell.x <= x1 && cell.bottom() >= y0 && cell.y <= y1) selection.brushed.push_back({l, h});
      }
    }
    if (!selection.brushed.empty()) selection.layer = selection.brushed.front().layer, selection.head = selection.brushed.front().head;
    (void)options;
    return true;
  }

 private:
  struct Layout {
    double left = 0, top = 0, width = 0, height = 0, gap = 0;
    Rect at(int64_t layer, int64_t head) const {
      return {left + static_cast<double>(head) * width, top + static_cast<double>(layer) * height, width - gap, height - gap};
    }
  };

  /// Cells fill the space, at most square-ish of 40 points; `bar` points stay at the right for the colour bar.
  static Layout layOut(int64_t layers, int64_t heads, Size size, double bar, double type) {
    Layout l;
    l.left = type * 2.6, l.top = type * 2.6;
    const double wide = (size.width - l.left - bar) / static_cast<double>(heads);
    const double high = size.height > 0 ? (size.height - l.top - type) / static_cast<double>(layers) : wide;
    l.width = std::clamp(wide, 2.0, 40.0), l.height = std::clamp(high, 2.0, std::min(40.0, l.width * 1.5));
    l.gap = std::min(l.width, l.height) > 8 ? 1.0 : 0.0;
    return l;
  }

  static Figure drawMap(const ViewInput& input, const RankMapData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const auto layers = static_cast<int64_t>(data.layers.size());
    const std::string score = wordOf(input.options, "score", ""), measure = wordOf(input.options, "measure", kMeasures[0]);
    const bool isScore = !score.empty() && input.scores && input.scores->has(score);
    core::Matrix values(layers, data.heads);
    double low = 1e300, high = -1e300;
    for (int64_t l = 0; l < layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h) {
        const double v =
            isScore ? (l < input.scores->layers() ? input.scores->at(score, {l, h}) : std::nan("")) : valueOf(data.at(l, h), measure);
        values(l, h) = static_cast<float>(v);
        if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
      }
    }
    if (low > high) low = 0, high = 1;
    ValueScale scale{core::ColorScale::Linear, low, high, input.options.limits.has_value()};
    if (input.options.limits) scale.low = input.options.limits->first, scale.high = input.options.limits->second;
    const ColorRamp ramp = scalarRamp(t);
    const double barText = colorBarTextWidth(scale, t, frame.measure), bar = t.gap * 3 + 10 + barText;
    const Layout layout =
        layOut(layers, data.heads, frame.size, frame.isPaper ? bar : std::max(bar, 90.0), frame.isPaper ? t.smallSize : 13);

    Figure figure;
    const double bottom = layout.top + layout.height * static_cast<double>(layers);
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : bottom + t.gap};
    figure.background = t.canvas;
    figure.title = "Rank map";
    for (int64_t l = 0; l < layers; l += labelStep(layout.height, t.smallSize * 1.2)) {
      figure.add(textAt({layout.left - t.gap / 2, layout.at(l, 0).center().y}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Right,
                        AnchorY::Middle));
    }
    for (int64_t h = 0; h < data.heads; h += labelStep(layout.width, t.smallSize * 1.9)) {
      figure.add(textAt({layout.at(0, h).center().x, layout.top - t.gap / 2}, std::to_string(h), t.small(), t.inkSecond, AnchorX::Center,
                        AnchorY::Bottom));
    }
    for (int64_t l = 0; l < layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h) {
        const Rect cell = layout.at(l, h);
        const core::HeadRef head{l, h};
        const double v = values(l, h);
        const Pick pick{Pick::Kind::Head, l, h, -1,
                        "Head " + std::to_string(l) + "." + std::to_string(h) + "\n" +
                            (isScore ? score : data.matrix + ", " + wordsFor(measure)) + "  " + shortNumber(v, 4)};
        if (std::isfinite(v)) {
          figure.add(RectItem{cell, ramp.at(scale.unit(v)), kTransparent, 0}).pick = pick;
        } else {
          figure.add(HatchItem{cell, t.line}).pick = pick;
        }
        if (frame.isPaper) continue;
        if (std::find(input.selection.brushed.begin(), input.selection.brushed.end(), head) != input.selection.brushed.end()) {
          figure.addOverlay(RectItem{cell, kTransparent, t.accent, 1});
        }
        if (head == core::HeadRef{frame.hover.layer, frame.hover.head}) figure.addOverlay(RectItem{cell.inset(-1), kTransparent, t.ink, 1});
        if (head == input.selection.ref()) figure.addOverlay(RectItem{cell.inset(-1.5), kTransparent, t.accent, 2});
      }
    }
    const double barHeight = std::min(120.0, bottom - layout.top);
    addColorBar(figure, {layout.at(0, data.heads - 1).right() + t.gap * 2, layout.top, 10, barHeight}, scale, ramp, t);
    figure.caption = (isScore ? score : data.matrix + ": " + wordsFor(measure)) + " of every head of " + data.modelName +
                     ", layers down, heads across" +
                     (isScore ? "." : std::string(", norm gains ") + (data.isFolded ? "folded." : "not folded."));
    for (const std::string& note : data.notes) figure.caption += " " + note + ".";
    return figure;
  }
};

}  // namespace

const View& rankMapView() {
  static const RankMapView view;
  return view;
}

}  // namespace headscope::views
