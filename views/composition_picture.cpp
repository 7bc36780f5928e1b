#include "views/composition_picture.h"

#include <algorithm>
#include <cmath>

#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/head_heat.h"

namespace headscope::views {
namespace {

constexpr const char* kKindNames[] = {"Q", "K", "V"};
constexpr size_t kNamed = 6;  // strongest edges whose heads are named

Color colorOf(int kind, const Theme& t) { return kind == 0 ? t.query : kind == 1 ? t.key : t.value; }
Color changeColor(bool hasGrown, const Theme& t) { return divergingRamp(t).at(hasGrown ? 0.92 : 0.08); }

bool touches(const CompositionEdge& e, core::HeadRef head) { return e.from == head || e.to == head; }

std::string tipOf(const CompositionEdge& e) {
  std::string tip = core::headName(e.from) + " to " + kKindNames[e.kind] + " of " + core::headName(e.to) + "\ncomposition  " +
                    shortNumber(e.value) + "\nexcess  " + shortNumber(e.excess);
  if (std::isfinite(e.before)) tip += "\nwithout the adapter  " + shortNumber(e.before) + "\nchange  " + shortNumber(e.change());
  return tip;
}

/// One graph in a rectangle.
class Graph {
 public:
  Graph(Figure& figure, const ViewInput& input, const CompositionData& data, const ViewFrame& frame, const Rect& area)
      : figure_(figure), input_(input), data_(data), frame_(frame), theme_(frame.theme), isChange_(isChange(input.options)) {
    left_ = area.x + 2 + frame.measure.width(std::to_string(std::max<int64_t>(data.layers - 1, 10)), theme_.small()) + theme_.gap / 2;
    top_ = area.y;
    bottom_ = area.bottom() - theme_.smallSize * 1.5;
    stepX_ = (area.right() - left_) / static_cast<double>(data.heads);
    stepY_ = (bottom_ - top_) / static_cast<double>(data.layers);
    radius_ = std::clamp(std::min(stepX_, stepY_) * 0.26, 1.2, frame.isPaper ? 4.0 : 7.0);
  }

  /// Layer 0 at the bottom: what is written goes up the residual stream.
  Point nodeAt(core::HeadRef h) const {
    return {left_ + (static_cast<double>(h.head) + 0.5) * stepX_, bottom_ - (static_cast<double>(h.layer) + 0.5) * stepY_};
  }

  void draw(const std::vector<CompositionEdge>& edges) {
    figure_.content.push_back(pickArea({left_, top_, stepX_ * static_cast<double>(data_.heads), bottom_ - top_},
                                       {Pick::Kind::Control, kBrushControl, -1, -1, {}}));
    const auto sizeOf = [&](const CompositionEdge& e) { return isChange_ ? std::abs(e.change()) : e.excess; };
    const double most = edges.empty() ? 1 : std::max(1e-12, sizeOf(edges.front()));
    used_.assign(static_cast<size_t>(data_.layers * data_.heads), 0);
    for (const CompositionEdge& e : edges) {
      for (const core::HeadRef h : {e.from, e.to}) used_[static_cast<size_t>(h.layer * data_.heads + h.head)] = 1;
    }
    addUnusedNodes();                                                                    // under the edges, which they would cut
    for (size_t i = edges.size(); i-- > 0;) addEdge(edges[i], sizeOf(edges[i]) / most);  // the strongest last, on top
    addLabels();
    addNodes();
    addNames(edges);
    addRubberBand(figure_, {left_, top_, stepX_ * static_cast<double>(data_.heads), bottom_ - top_}, frame_);
  }

 private:
  bool isHovered(core::HeadRef h) const { return !frame_.isPaper && h == core::HeadRef{frame_.hover.layer, frame_.hover.head}; }
  /// Hovering a head, or brushing several, dims the edges of all others.
  bool isDimmed(const CompositionEdge& e) const {
    if (frame_.isPaper) return false;
    if (frame_.hover.layer >= 0 && frame_.hover.head >= 0) return !touches(e, {frame_.hover.layer, frame_.hover.head});
    const auto& brushed = input_.selection.brushed;
    return brushed.size() > 1 && !isBrushed(input_.selection, e.from) && !isBrushed(input_.selection, e.to);
  }

  void addEdge(const CompositionEdge& e, double share) {
    // Q, K and V between the same two heads run side by side.
    const double strand = isChange_ ? 0 : (e.kind - 1) * radius_ * 0.55;
    const Point from{nodeAt(e.from).x + strand, nodeAt(e.from).y}, to{nodeAt(e.to).x + strand, nodeAt(e.to).y};
    const double bend = (to.y - from.y) * 0.5;
    // Straight up through other nodes is no way: bow out.
    const double bow = e.from.head == e.to.head && e.to.layer - e.from.layer > 1 ? stepX_ * 0.42 : 0;
    const int64_t writer = e.from.layer * data_.heads + e.from.head, reader = e.to.layer * data_.heads + e.to.head;
    const bool isUnder =
        frame_.under.kind == Pick::Kind::Value && frame_.under.a == writer && frame_.under.b == reader && frame_.under.c == e.kind;
    const double alpha = isUnder ? 1.0 : (isDimmed(e) ? 0.1 : 1.0) * (0.15 + 0.8 * share);
    const Color color = isChange_ ? changeColor(e.change() > 0, theme_) : colorOf(e.kind, theme_);
    const double width = (frame_.isPaper ? 0.4 : 0.75) + (frame_.isPaper ? 1.4 : 2.25) * share + (isUnder ? 1 : 0);
    Item& item = figure_.add(CurveItem{from, {from.x + bow, from.y + bend}, {to.x + bow, to.y - bend}, to, color.withAlpha(alpha), width});
    item.pick = {Pick::Kind::Value, writer, reader, e.kind, tipOf(e)};
  }

  void addLabels() {
    for (int64_t l = 0; l < data_.layers; l += labelStep(stepY_, theme_.smallSize * 1.3)) {
      figure_.add(textAt({left_ - theme_.gap / 2, nodeAt({l, 0}).y}, std::to_string(l), theme_.small(), theme_.inkSecond, AnchorX::Right,
                         AnchorY::Middle));
    }
    for (int64_t h = 0; h < data_.heads; h += labelStep(stepX_, theme_.smallSize * 1.9)) {
      figure_.add(textAt({nodeAt({0, h}).x, bottom_ + theme_.smallSize * 0.2}, std::to_string(h), theme_.small(), theme_.inkSecond,
                         AnchorX::Center, AnchorY::Top));
    }
  }

  void addUnusedNodes() {
    const double r = radius_ * 0.7;
    for (int64_t l = 0; l < data_.layers; ++l) {
      for (int64_t h = 0; h < data_.heads; ++h) {
        const Point p = nodeAt({l, h});
        if (used_[static_cast<size_t>(l * data_.heads + h)] == 0)
          figure_.add(RectItem{{p.x - r, p.y - r, 2 * r, 2 * r}, theme_.canvas, theme_.line, frame_.isPaper ? 0.25 : 0, r});
      }
    }
  }

  void addNodes() {
    for (int64_t l = 0; l < data_.layers; ++l) {
      for (int64_t h = 0; h < data_.heads; ++h) {
        const core::HeadRef head{l, h};
        const bool isUsed = used_[static_cast<size_t>(l * data_.heads + h)] != 0;
        const Point p = nodeAt(head);
        const double r = isUsed ? radius_ : radius_ * 0.7;
        const Rect circle{p.x - r, p.y - r, 2 * r, 2 * r};
        if (isUsed) figure_.add(RectItem{circle, theme_.canvas, theme_.inkSecond, frame_.isPaper ? 0.25 : 0, r});
        const double reach = std::max(r, frame_.isPaper ? r : 5.0);
        figure_.content.push_back(
            pickArea({p.x - reach, p.y - reach, 2 * reach, 2 * reach}, {Pick::Kind::Head, l, h, -1, "Head " + core::headName(head)}));
        if (frame_.isPaper) continue;
        if (isBrushed(input_.selection, head)) figure_.addOverlay(RectItem{circle, theme_.accent.withAlpha(0.5), kTransparent, 0, r});
        if (head == input_.selection.ref()) figure_.addOverlay(RectItem{circle.inset(-2), kTransparent, theme_.accent, 2, r + 2});
        if (isHovered(head)) figure_.addOverlay(RectItem{circle.inset(-2), kTransparent, theme_.ink, 1, r + 2});
      }
    }
  }

  void addName(core::HeadRef head, Color color, bool isOverlay) {
    const Point p = nodeAt(head);
    const std::string name = core::headName(head);
    const bool isLeft = p.x + radius_ + frame_.measure.width(name, theme_.small()) + 4 > left_ + stepX_ * static_cast<double>(data_.heads);
    const double width = frame_.measure.width(name, theme_.small()), x = isLeft ? p.x - radius_ - 3 - width : p.x + radius_ + 3;
    const Rect place{x - 1, p.y - theme_.smallSize * 0.62, width + 2, theme_.smallSize * 1.24};
    const auto meets = [&](const Rect& o) {
      return place.x < o.right() && o.x < place.right() && place.y < o.bottom() && o.y < place.bottom();
    };
    if (!isOverlay && std::any_of(names_.begin(), names_.end(), meets)) return;  // the stronger edge's name stays readable
    if (!isOverlay) names_.push_back(place);
    const RectItem ground{place, theme_.canvas.withAlpha(0.8), kTransparent, 0, 2};
    const TextItem text = textAt({x, p.y}, name, theme_.small(), color, AnchorX::Left, AnchorY::Middle);
    if (isOverlay) {
      figure_.addOverlay(ground), figure_.addOverlay(text);
    } else {
      figure_.add(ground), figure_.add(text);
    }
  }

  /// Names of the heads that matter most: both ends of the strongest edges, of the hovered head's, and the selected head.
  void addNames(const std::vector<CompositionEdge>& edges) {
    std::vector<core::HeadRef> named;
    const auto add = [&](core::HeadRef head) {
      if (std::find(named.begin(), named.end(), head) == named.end()) named.push_back(head);
    };
    for (size_t i = 0; i < std::min(kNamed, edges.size()); ++i) add(edges[i].from), add(edges[i].to);
    for (const core::HeadRef head : named) addName(head, theme_.ink, false);
    if (frame_.isPaper) return;
    const core::HeadRef hover{frame_.hover.layer, frame_.hover.head};
    if (hover.layer >= 0 && hover.layer < data_.layers && hover.head >= 0 && hover.head < data_.heads) {
      for (const CompositionEdge& e : edges) {
        if (touches(e, hover)) addName(e.from, theme_.ink, true), addName(e.to, theme_.ink, true);
      }
    }
    if (input_.selection.layer < data_.layers && input_.selection.head < data_.heads) addName(input_.selection.ref(), theme_.accent, true);
  }

  Figure& figure_;
  const ViewInput& input_;
  const CompositionData& data_;
  const ViewFrame& frame_;
  const Theme& theme_;
  bool isChange_;
  double left_ = 0, top_ = 0, bottom_ = 0, stepX_ = 0, stepY_ = 0, radius_ = 0;
  std::vector<char> used_;   // [layers * heads] has an edge that is drawn
  std::vector<Rect> names_;  // where names are written
};

/// Colours, and how many edges are drawn and hidden: always said. In a row over the graph, or two. Returns their height.
double addLegend(Figure& figure, const ViewInput& input, const ViewFrame& frame, const Rect& area, int only, const ChosenEdges& chosen) {
  const Theme& t = frame.theme;
  double x = area.x;
  const double y = area.y + t.smallSize * 0.8;
  const auto entry = [&](Color color, const std::string& text) {
    figure.add(segment({x, y}, {x + t.smallSize * 1.2, y}, color, frame.isPaper ? 1 : 2));
    x += t.smallSize * 1.5;
    figure.add(textAt({x, y}, text, t.small(), t.inkSecond, AnchorX::Left, AnchorY::Middle));
    x += frame.measure.width(text, t.small()) + t.gap * 1.5;
  };
  if (isChange(input.options)) {
    if (only >= 0) entry(t.inkSecond, kKindNames[only]);
    entry(changeColor(true, t), "grew"), entry(changeColor(false, t), "shrank");
  } else {
    for (int kind = 0; kind < 3; ++kind) {
      if (only < 0 || kind == only) entry(colorOf(kind, t), kKindNames[kind]);
    }
  }
  const size_t hidden = chosen.eligible - chosen.edges.size();
  const std::string words = std::to_string(chosen.edges.size()) + (chosen.edges.size() == 1 ? " edge" : " edges") +
                            (hidden > 0 ? ", " + std::to_string(hidden) + " weaker hidden" : "");
  const bool hasRoom = frame.measure.width(words, t.small()) < area.right() - x;
  const double below = hasRoom ? 0 : t.smallSize * 1.5;
  figure.add(textAt({hasRoom ? area.right() : area.x, y + below}, words, t.small(), t.inkSecond, hasRoom ? AnchorX::Right : AnchorX::Left,
                    AnchorY::Middle));
  return t.smallSize * 2.2 + below;
}

void drawGraphs(Figure& figure, const ViewInput& input, const CompositionData& data, const ViewFrame& frame, const Rect& area) {
  const bool isSplit = wordIn(input.options, "form", "graph") == "split";
  const int panes = isSplit ? 3 : 1;
  const double gap = frame.theme.gap * 2, width = (area.width - gap * (panes - 1)) / panes;
  size_t drawn = 0, eligible = 0;
  for (int pane = 0; pane < panes; ++pane) {
    EdgeChoice choice = choiceOf(input);
    if (isSplit) choice.kind = pane;
    const ChosenEdges chosen = chooseEdges(data, choice);
    drawn += chosen.edges.size(), eligible += chosen.eligible;
    const Rect part{area.x + pane * (width + gap), area.y, width, area.height};
    const double legend = addLegend(figure, input, frame, part, isSplit ? pane : compositionKind(input.options), chosen);
    Graph(figure, input, data, frame, {part.x, part.y + legend, part.width, part.height - legend}).draw(chosen.edges);
  }
  figure.caption += "; layer 0 at the bottom, " + std::to_string(drawn) + " of " + std::to_string(eligible) + " edges drawn" +
                    (isIsolated(input.options) ? ", of head " + core::headName(input.selection.ref()) : std::string()) + ".";
}

void addCellReading(Figure& figure, const CompositionData& data, int kind, const ViewFrame& frame, const Rect& plot) {
  if (!frame.pointer || !plot.contains(*frame.pointer) || frame.dragFrom) return;
  const MatrixCell cell = cellAt(*frame.pointer, plot, data.layers, data.heads);
  const Color line = frame.theme.accent.withAlpha(0.6);
  figure.addOverlay(segment({plot.x, frame.pointer->y}, {frame.pointer->x, frame.pointer->y}, line));
  figure.addOverlay(segment({frame.pointer->x, plot.y}, {frame.pointer->x, frame.pointer->y}, line));
  const std::string label = core::headName(cell.from) + " to " + kKindNames[kind] + " of " + core::headName(cell.to);
  if (cell.from.layer >= cell.to.layer) return;
  const int64_t n = data.layers * data.heads;
  const CompositionEdge e = data.edge(
      kind, static_cast<uint32_t>((cell.from.layer * data.heads + cell.from.head) * n + cell.to.layer * data.heads + cell.to.head));
  const std::string note = std::isfinite(e.before) ? "without the adapter " + shortNumber(e.before) : "excess " + shortNumber(e.excess);
  addTag(figure, {frame.pointer->x - 4, frame.pointer->y - 4, 8, 8}, {0, 0, figure.size.width, figure.size.height}, label,
         shortNumber(e.value), note, frame.theme, frame.measure);
}

/// The pane's name with its strongest pair, which is framed where its cell is too small to be seen.
void addPaneName(Figure& figure, const CompositionData& data, int kind, bool hasChange, const ViewFrame& frame, const Rect& plot) {
  constexpr double kSeenCell = 4;
  const Theme& t = frame.theme;
  const std::vector<uint32_t>& order = (hasChange ? data.changed : data.strongest)[static_cast<size_t>(kind)];
  std::string name = std::string(kKindNames[kind]) + (hasChange ? ", change" : "");
  const double cell = plot.width / static_cast<double>(std::max<int64_t>(1, data.layers * data.heads));
  if (!order.empty()) {
    const CompositionEdge e = data.edge(kind, order.front());
    const std::string pair = name + ", most " + core::headName(e.from) + " to " + core::headName(e.to);
    if (frame.measure.width(pair, t.small()) <= plot.width) name = pair;
    const double half = kSeenCell / 2 + 1, row = static_cast<double>(e.from.layer * data.heads + e.from.head) + 0.5,
                 col = static_cast<double>(e.to.layer * data.heads + e.to.head) + 0.5;
    if (cell < kSeenCell)
      figure.add(RectItem{{plot.x + col * cell - half, plot.y + row * cell - half, 2 * half, 2 * half}, kTransparent, colorOf(kind, t), 1});
  }
  figure.add(textAt({plot.x, plot.y - t.smallSize * 2.2}, name, t.small(), colorOf(kind, t), AnchorX::Left, AnchorY::Middle));
}

/// Rows: what writes, columns: what reads; blocks are layers.
void drawMatrices(Figure& figure, const ViewInput& input, const CompositionData& data, const ViewFrame& frame, const Rect& area) {
  const Theme& t = frame.theme;
  const int only = compositionKind(input.options), panes = only < 0 ? 3 : 1;
  const bool hasChange = isChange(input.options);
  double most = 0;
  for (int kind = 0; kind < 3; ++kind) {
    if (only >= 0 && kind != only) continue;
    const core::Matrix& m = (hasChange ? data.change : data.excess)[static_cast<size_t>(kind)];
    for (int64_t i = 0; i < m.size(); ++i)
      most = std::isfinite(m.data()[i]) ? std::max(most, static_cast<double>(std::abs(m.data()[i]))) : most;
  }
  if (!(most > 0)) most = 1;
  ValueScale scale{hasChange ? core::ColorScale::Linear : input.options.scale, hasChange ? -most : 0, most,
                   input.options.limits.has_value()};
  if (input.options.limits)
    scale.low = hasChange ? -input.options.limits->second : input.options.limits->first, scale.high = input.options.limits->second;
  const ColorRamp ramp = hasChange ? divergingRamp(t) : attentionRamp(t);
  const double bar = t.gap * 2.5 + 10 + colorBarTextWidth(scale, t, frame.measure), label = t.smallSize * 2, top = t.smallSize * 3;
  const double gap = t.gap * 1.5, across = (area.width - bar - gap * (panes - 1)) / panes - label;
  const double side = std::max(10.0, std::min(across, area.height - top - t.gap));
  Rect plot;
  for (int pane = 0; pane < panes; ++pane) {
    const int kind = only < 0 ? pane : only;
    const auto k = static_cast<size_t>(kind);
    plot = {area.x + pane * (side + label + gap) + label, area.y + top, side, side};
    const core::Matrix& values = (hasChange ? data.change : data.excess)[k];
    addMap(figure, plot, values, {0, static_cast<double>(values.rows()), 0, static_cast<double>(values.cols())}, scale, ramp,
           data.caches[k + (hasChange ? 3 : 0)], t, frame.isPaper);
    for (int64_t l = 0; l <= data.layers; ++l) {
      const double block = side / static_cast<double>(data.layers), at = block * static_cast<double>(l);
      if (block > 4 || l == 0 || l == data.layers) {
        figure.add(segment({plot.x, plot.y + at}, {plot.right(), plot.y + at}, t.line));
        figure.add(segment({plot.x + at, plot.y}, {plot.x + at, plot.bottom()}, t.line));
      }
      if (l == data.layers || l % labelStep(block, t.smallSize * 1.6) != 0) continue;
      figure.add(textAt({plot.x - 3, plot.y + at + block / 2}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
      figure.add(
          textAt({plot.x + at + block / 2, plot.y - 2}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Center, AnchorY::Bottom));
    }
    addPaneName(figure, data, kind, hasChange, frame, plot);
    Item ground = pickArea(plot, {Pick::Kind::Control, kMatrixControl, -1, -1, {}});
    ground.pick.within = plot;
    figure.content.push_back(std::move(ground));
    addCellReading(figure, data, kind, frame, plot);
  }
  addColorBar(figure, {plot.right() + t.gap * 1.5, plot.y, 10, std::clamp(side - t.smallSize * 2, t.smallSize * 3, 120.0)}, scale, ramp, t);
  figure.caption += "; writers down, readers across, blocks are layers.";
}

}  // namespace

int compositionKind(const core::ViewOptions& options) {
  const std::string kind = wordIn(options, "kind", "all");
  return kind == "q" ? 0 : kind == "k" ? 1 : kind == "v" ? 2 : -1;
}

double leastIn(const core::ViewOptions& options) {
  const double standard = core::ViewOptions{}.threshold;  // belongs to weights of maps
  return std::max(0.0, numberIn(options, "least", options.threshold == standard ? 0.0 : options.threshold));
}

EdgeChoice choiceOf(const ViewInput& input) {
  EdgeChoice choice;
  choice.kind = compositionKind(input.options);
  choice.isChange = isChange(input.options);
  choice.least = leastIn(input.options);
  choice.most = static_cast<size_t>(std::clamp(numberIn(input.options, "top", 60), 1.0, 2000.0));
  choice.isIsolated = isIsolated(input.options);
  choice.isolated = input.selection.ref();
  return choice;
}

MatrixCell cellAt(Point at, const Rect& plot, int64_t layers, int64_t heads) {
  const auto index = [&](double unit) {
    const int64_t n = layers * heads;
    return std::clamp<int64_t>(static_cast<int64_t>(std::floor(unit * static_cast<double>(n))), 0, n - 1);
  };
  const int64_t from = index((at.y - plot.y) / plot.height), to = index((at.x - plot.x) / plot.width);
  return {{from / heads, from % heads}, {to / heads, to % heads}};
}

void drawComposition(Figure& figure, const ViewInput& input, const CompositionData& data, const ViewFrame& frame, const Rect& area) {
  figure.caption = "Composition of heads of " + data.modelName + (isChange(input.options) ? ", change by the adapter" : "") +
                   ", excess over random heads (" + shortNumber(data.scores.expectation) + "), norm gains " +
                   (data.isFolded ? "folded" : "not folded");
  if (wordIn(input.options, "form", "graph") == "matrix") {
    drawMatrices(figure, input, data, frame, area);
  } else {
    drawGraphs(figure, input, data, frame, area);
  }
  for (const std::string& note : data.scores.notes) figure.caption += " " + note + ".";
}

}  // namespace headscope::views
