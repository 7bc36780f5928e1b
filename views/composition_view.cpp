// Composition graph: heads as nodes by layer, the strongest edges by excess over the baseline; or the same as a matrix.
// options.words: kind ("all", "q", "k", "v"), form ("graph" or "matrix"). options.numbers: top (edges drawn, default 60),
// isolate (1: only the selected head's edges). options.threshold: least excess drawn.
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/weights/composition.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

using core::CompositionKind;

struct Edge {
  int kind;  // 0 q, 1 k, 2 v
  core::HeadRef from, to;
  double value, excess, before;  // before: without the adapter; NaN when none is on
};

struct CompositionData : ViewData {
  int64_t layers = 0, heads = 0;
  std::string modelName;
  bool isFolded = false;
  core::Composition scores;
  std::shared_ptr<const core::Composition> base;
  std::vector<Edge> edges;  // finite, positive excess, strongest first
};

std::string wordOf(const core::ViewOptions& options, const char* key, const char* fallback) {
  const auto it = options.words.find(key);
  return it == options.words.end() || it->second.empty() ? fallback : it->second;
}

double numberOf(const core::ViewOptions& options, const char* key, double fallback) {
  const auto it = options.numbers.find(key);
  return it == options.numbers.end() ? fallback : it->second;
}

constexpr const char* kKindNames[] = {"Q", "K", "V"};

Color colorOf(int kind, const Theme& t) { return kind == 0 ? t.query : kind == 1 ? t.key : t.value; }

int kindOf(const core::ViewOptions& options) {
  const std::string kind = wordOf(options, "kind", "all");
  return kind == "q" ? 0 : kind == "k" ? 1 : kind == "v" ? 2 : -1;
}

std::string tipOf(const Edge& e) {
  std::string tip = headName(e.from) + " to " + kKindNames[e.kind] + " of " + headName(e.to) + "\ncomposition  " + shortNumber(e.value) +
                    "\nexcess  " + shortNumber(e.excess);
  if (std::isfinite(e.before)) tip += "\nwithout the adapter  " + shortNumber(e.before);
  return tip;
}

std::vector<Edge> edgesOf(const CompositionData& data) {
  std::vector<Edge> edges;
  const core::Composition& c = data.scores;
  for (int kind = 0; kind < 3; ++kind) {
    for (int64_t a = 0; a < c.layers; ++a) {
      for (int64_t i = 0; i < c.heads; ++i) {
        for (int64_t b = a + 1; b < c.layers; ++b) {
          for (int64_t j = 0; j < c.heads; ++j) {
            const auto k = static_cast<CompositionKind>(kind);
            const double value = c.at(k, a, i, b, j), excess = value - c.baseline(k, a, i, b, j);
            if (!(excess > 0)) continue;
            edges.push_back({kind, {a, i}, {b, j}, value, excess, data.base ? data.base->at(k, a, i, b, j) : std::nan("")});
          }
        }
      }
    }
  }
  std::sort(edges.begin(), edges.end(), [](const Edge& x, const Edge& y) { return x.excess > y.excess; });
  if (edges.size() > 200000) edges.resize(200000);
  return edges;
}

class CompositionView : public View {
 public:
  std::string_view name() const override { return "composition"; }
  std::string_view title() const override { return "Composition"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    const int kind = kindOf(input.options);
    return kind < 0 ? "Q, K and V" : std::string(kKindNames[kind]);
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    return "composition:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get()));
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<CompositionData>();
    const core::Model& model = *input.model;
    data->layers = model.spec().layers, data->heads = model.spec().heads;
    data->modelName = model.name();
    core::CompositionOptions options;
    options.fold = core::defaultFold(model.spec());
    data->isFolded = options.fold == core::Fold::On;
    if (model.adapter() != nullptr) {
      data->base = std::make_shared<const core::Composition>(core::composition(*model.withoutAdapter(), options, job));
    }
    data->scores = core::composition(model, options, job);
    data->edges = edgesOf(*data);
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "Which heads feed which", "Open a model folder", frame.theme);
    const auto* graph = dynamic_cast<const CompositionData*>(data);
    if (graph == nullptr) return emptyFigure(frame.size, "Which heads feed which", "Computing", frame.theme);
    if (graph->layers < 2) return emptyFigure(frame.size, "Which heads feed which", "One layer: no head comes before another", frame.theme);
    return wordOf(input.options, "form", "graph") == "matrix" ? drawMatrix(input, *graph, frame) : drawGraph(input, *graph, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "to_layer", "to_head", "kind", "value", "excess"}, {}};
    if (!input.model) return table;
    const auto data = std::static_pointer_cast<const CompositionData>(compute(input, {}, job));
    for (const Edge& e : data->edges) {
      table.rows.push_back({std::to_string(e.from.layer), std::to_string(e.from.head), std::to_string(e.to.layer),
                            std::to_string(e.to.head),
                            e.kind == 0   ? "q"
                            : e.kind == 1 ? "k"
                                          : "v",
                            shortNumber(e.value, 7), shortNumber(e.excess, 7)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    using Kind = Gesture::Kind;
    if (!input.model) return false;
    if ((gesture.kind == Kind::Click || gesture.kind == Kind::DoubleClick) && gesture.pick.kind == Pick::Kind::Head) {
      const bool isSame = selection.ref() == core::HeadRef{gesture.pick.a, gesture.pick.b};
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      options.numbers["isolate"] = isSame && numberOf(options, "isolate", 0) > 0 ? 0 : 1;  // a second click shows all again
      return true;
    }
    if (gesture.kind == Kind::DoubleClick) {
      options.numbers["isolate"] = 0;
      return true;
    }
    if (gesture.kind == Kind::Wheel) {
      options.numbers["top"] = std::clamp(numberOf(options, "top", 60) * (gesture.delta.y > 0 ? 1.25 : 0.8), 5.0, 2000.0);
      return true;
    }
    return false;
  }

 private:
  static bool touches(const Edge& e, core::HeadRef head) { return e.from == head || e.to == head; }

  static Figure start(const CompositionData& data, const ViewFrame& frame) {
    Figure figure;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : frame.size.width * 0.75};
    figure.background = frame.theme.canvas;
    figure.title = "Composition";
    figure.caption = "Composition of heads of " + data.modelName + ", excess over random heads (" + shortNumber(data.scores.expectation) +
                     "), norm gains " + (data.isFolded ? "folded" : "not folded");
    return figure;
  }

  static Figure drawGraph(const ViewInput& input, const CompositionData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure = start(data, frame);
    const double left = t.smallSize * 2.6, top = t.smallSize * 2.6, bottom = t.smallSize * 1.5;
    const double stepX = (figure.size.width - left - t.gap) / static_cast<double>(data.heads);
    const double stepY = (figure.size.height - top - bottom) / static_cast<double>(data.layers);
    const double radius = std::clamp(std::min(stepX, stepY) * 0.28, 1.5, 7.0);
    // Layer 0 at the bottom: what is written goes up the residual stream.
    const auto nodeAt = [&](core::HeadRef h) {
      return Point{left + (static_cast<double>(h.head) + 0.5) * stepX,
                   figure.size.height - bottom - (static_cast<double>(h.layer) + 0.5) * stepY};
    };
    const int only = kindOf(input.options);
    const bool isIsolated = numberOf(input.options, "isolate", 0) > 0;
    const core::HeadRef hover{frame.hover.layer, frame.hover.head};
    const double least = input.options.threshold == 0.05 ? 0.0 : input.options.threshold;  // the default belongs to weights of maps
    const auto top_n = static_cast<size_t>(numberOf(input.options, "top", 60));
    std::vector<const Edge*> shown;
    size_t eligible = 0;
    for (const Edge& e : data.edges) {
      if ((only >= 0 && e.kind != only) || e.excess < least || (isIsolated && !touches(e, input.selection.ref()))) continue;
      ++eligible;
      if (shown.size() < top_n) shown.push_back(&e);
    }
    const double most = shown.empty() ? 1 : shown.front()->excess;
    for (size_t i = shown.size(); i-- > 0;) {  // the strongest last, on top
      const Edge& e = *shown[i];
      const Point a = nodeAt(e.from), b = nodeAt(e.to);
      const double share = e.excess / most, bend = (b.y - a.y) * 0.5;
      const bool isDimmed = !frame.isPaper && hover.layer >= 0 && hover.head >= 0 && !touches(e, hover);
      const double alpha = (isDimmed ? 0.12 : 1.0) * (0.15 + 0.8 * share);
      Item& item =
          figure.add(CurveItem{a, {a.x, a.y + bend}, {b.x, b.y - bend}, b, colorOf(e.kind, t).withAlpha(alpha), 0.75 + 2.25 * share});
      item.pick = {Pick::Kind::Edge, e.from.layer * data.heads + e.from.head, e.to.layer * data.heads + e.to.head, e.kind, tipOf(e)};
    }
    for (int64_t l = 0; l < data.layers; ++l) {
      if (l % labelStep(stepY, t.smallSize * 1.3) == 0) {
        figure.add(
            textAt({left - t.gap / 2, nodeAt({l, 0}).y}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
      }
      for (int64_t h = 0; h < data.heads; ++h) {
        const Point p = nodeAt({l, h});
        const bool isSelected = input.selection.ref() == core::HeadRef{l, h};
        const Rect circle{p.x - radius, p.y - radius, 2 * radius, 2 * radius};
        figure.add(RectItem{circle, t.canvas, t.inkSecond, 0, radius}).pick = {Pick::Kind::Head, l, h, -1,
                                                                               "Head " + headName(core::HeadRef{l, h})};
        if (!frame.isPaper && isSelected) figure.addOverlay(RectItem{circle.inset(-2), kTransparent, t.accent, 2, radius + 2});
      }
    }
    addLegend(figure, only, shown.size(), eligible, t);
    figure.caption += "; layer 0 at the bottom, " + std::to_string(shown.size()) + " of " + std::to_string(eligible) + " edges drawn" +
                      (isIsolated ? ", of head " + headName(input.selection.ref()) : std::string()) + ".";
    for (const std::string& note : data.scores.notes) figure.caption += " " + note + ".";
    return figure;
  }

  static void addLegend(Figure& figure, int only, size_t shown, size_t eligible, const Theme& t) {
    double x = t.smallSize * 2.6;
    const double y = t.smallSize * 1.4;
    for (int kind = 0; kind < 3; ++kind) {
      if (only >= 0 && kind != only) continue;
      figure.add(segment({x, y}, {x + 14, y}, colorOf(kind, t), 2));
      figure.add(textAt({x + 18, y}, kKindNames[kind], t.small(), t.inkSecond, AnchorX::Left, AnchorY::Middle));
      x += 18 + t.smallSize * 1.6;
    }
    const size_t hidden = eligible - shown;
    if (hidden > 0) {
      figure.add(textAt({figure.size.width - t.gap, y}, std::to_string(hidden) + " weaker edges hidden", t.small(), t.inkSecond,
                        AnchorX::Right, AnchorY::Middle));
    }
  }

  /// Rows: what writes, columns: what reads; blocks are layers.
  static Figure drawMatrix(const ViewInput& input, const CompositionData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure = start(data, frame);
    const int kind = std::max(0, kindOf(input.options));
    const auto k = static_cast<CompositionKind>(kind);
    const int64_t n = data.layers * data.heads;
    core::Matrix values = core::Matrix::zeros(n, n);
    double most = 0;
    for (int64_t a = 0; a < data.layers; ++a) {
      for (int64_t i = 0; i < data.heads; ++i) {
        for (int64_t b = a + 1; b < data.layers; ++b) {
          for (int64_t j = 0; j < data.heads; ++j) {
            const double excess = data.scores.at(k, a, i, b, j) - data.scores.baseline(k, a, i, b, j);
            values(a * data.heads + i, b * data.heads + j) = static_cast<float>(std::isnan(excess) ? excess : std::max(0.0, excess));
            if (std::isfinite(excess)) most = std::max(most, excess);
          }
        }
      }
    }
    ValueScale scale{input.options.scale, 0, most > 0 ? most : 1, input.options.limits.has_value()};
    if (input.options.limits) scale.low = input.options.limits->first, scale.high = input.options.limits->second;
    const ColorRamp ramp = attentionRamp(t);
    const double bar = t.gap * 3 + 10 + colorBarTextWidth(scale, t, frame.measure), left = t.smallSize * 3, top = t.smallSize * 2.6;
    const double side = std::max(10.0, std::min(figure.size.width - left - bar, figure.size.height - top - t.gap));
    const Rect plot{left, top, side, side};
    bool hasNan = false;
    const auto image = mapImage(values, scale, ramp, &hasNan);
    if (hasNan) figure.add(HatchItem{plot, t.line});
    figure.add(ImageItem{plot, image, false});
    for (int64_t l = 0; l <= data.layers; ++l) {
      const double at = side * static_cast<double>(l) / static_cast<double>(data.layers);
      figure.add(segment({left, top + at}, {left + side, top + at}, t.line));
      figure.add(segment({left + at, top}, {left + at, top + side}, t.line));
      if (l == data.layers || l % labelStep(side / static_cast<double>(data.layers), t.smallSize * 1.6) != 0) continue;
      const double half = side / static_cast<double>(data.layers) / 2;
      figure.add(textAt({left - 4, top + at + half}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
      figure.add(textAt({left + at + half, top - 4}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Center, AnchorY::Bottom));
    }
    addColorBar(figure, {left + side + t.gap * 2, top, 10, std::min(120.0, side)}, scale, ramp, t);
    figure.caption += "; " + std::string(kKindNames[kind]) + ": writers down, readers across, blocks are layers.";
    return figure;
  }
};

}  // namespace

const View& compositionView() {
  static const CompositionView view;
  return view;
}

}  // namespace headscope::views
