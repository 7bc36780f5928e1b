// Rank map: layers down, heads across, coloured by any scalar, with a sortable table beside it; or two scalars as a scatter.
// options.words: matrix ("W_QK"), measure (one of spectrumMeasures(), "lora_QK", "lora_OV", or a score of the prompt), score (the
// same as a score in measure), form ("map" or "scatter"), x_matrix and x (the scatter's other scalar).
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/head_grid.h"
#include "views/head_heat.h"
#include "views/line_chart.h"
#include "views/option_values.h"
#include "views/rank_scalars.h"
#include "views/screen_notes.h"
#include "views/side_table.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

ScalarName shownIn(const core::ViewOptions& options) {
  const std::string score = wordIn(options, "score", "");
  return {wordIn(options, "matrix", "W_QK"), score.empty() ? wordIn(options, "measure", "effective_rank") : score};
}

ScalarName acrossIn(const core::ViewOptions& options) {
  return {wordIn(options, "x_matrix", "W_OV"), wordIn(options, "x", "effective_rank")};
}

bool isScatter(const core::ViewOptions& options) { return wordIn(options, "form", "map") == "scatter"; }

bool needsLora(const core::ViewOptions& options) {
  return shownIn(options).measure.starts_with("lora_") || (isScatter(options) && acrossIn(options).measure.starts_with("lora_"));
}

class RankMapView : public View {
 public:
  std::string_view name() const override { return "rank_map"; }
  std::string_view title() const override { return "Rank map"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    const bool isOfMatrix = shownIn(input.options).isOfMatrix() || (isScatter(input.options) && acrossIn(input.options).isOfMatrix());
    return scalarWords(input) + (input.model && isOfMatrix ? ", " + foldWords(*input.model) : std::string());
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    return "rank_map:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + (needsLora(input.options) ? ":lora" : "");
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const override {
    return computeInParts(input, size, job, nullptr);
  }
  std::shared_ptr<const ViewData> computeInParts(const ViewInput& input, Size, core::Job& job, const ShowPart& show) const override {
    return rankScalars(input, shownIn(input.options).matrix, needsLora(input.options), job, show);
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "Ranks and norms of every head", "Open a model folder", frame.theme);
    const auto* map = dynamic_cast<const RankMapData*>(data);
    if (map == nullptr) return drawHeadGridLoading(input.model->spec().layers, input.model->spec().heads, input.selection, frame);
    if (isMissing(input, *map)) return emptyFigure(frame.size, scalarWords(input), whyMissing(input), frame.theme);
    return isScatter(input.options) ? drawScatter(input, *map, frame) : drawMap(input, *map, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "matrix"}, {}};
    for (const std::string& measure : spectrumMeasures()) table.columns.push_back(measure);
    if (!input.model) return table;
    const auto data = rankScalars(input, {}, needsLora(input.options), job, nullptr);
    std::vector<ScalarName> extra;
    for (const ScalarName& name : {shownIn(input.options), acrossIn(input.options)}) {
      if (!name.isOfMatrix()) extra.push_back(name), table.columns.push_back(name.measure);
    }
    for (const auto& [matrix, measures] : data->measures) {
      for (int64_t l = 0; l < data->layers; ++l) {
        for (int64_t h = 0; h < data->heads; ++h) {
          std::vector<std::string> row{std::to_string(l), std::to_string(h), matrix};
          for (const std::string& measure : spectrumMeasures()) row.push_back(shortNumber(data->at({matrix, measure}, {l, h}, nullptr), 7));
          for (const ScalarName& name : extra) row.push_back(shortNumber(data->at(name, {l, h}, input.scores.get()), 7));
          table.rows.push_back(std::move(row));
        }
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model) return false;
    if (handleSideTable(gesture, options) || brushByDrag(gesture, selection)) return true;
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      if (gesture.pick.c >= -1) selection.brushed.clear();  // in the table the brushed heads stay listed
      return true;
    }
    if (gesture.kind == Gesture::Kind::Click) {
      selection.brushed.clear();
      return true;
    }
    return false;
  }

 private:
  static std::string scalarWords(const ViewInput& input) {
    return shownIn(input.options).label() + (isScatter(input.options) ? " against " + acrossIn(input.options).label() : std::string());
  }
  static bool isThere(const ViewInput& input, const RankMapData& data, const ScalarName& name) {
    if (name.isOfMatrix()) return data.measures.count(name.matrix) > 0;
    if (name.measure.starts_with("lora_")) return data.hasLora;
    return input.scores && input.scores->has(name.measure);
  }
  static bool isMissing(const ViewInput& input, const RankMapData& data) {
    if (data.layersDone == 0) return false;
    return !isThere(input, data, shownIn(input.options)) || (isScatter(input.options) && !isThere(input, data, acrossIn(input.options)));
  }
  static std::string whyMissing(const ViewInput& input) {
    if (needsLora(input.options) && input.model->adapter() == nullptr) return "Open an adapter";
    if (needsLora(input.options)) return "Computing";
    const ScalarName up = shownIn(input.options), across = acrossIn(input.options);
    if (up.isOfMatrix() && (!isScatter(input.options) || across.isOfMatrix())) {
      const std::vector<std::string> names = core::spectraNames(input.model->spec(), {});
      const auto isKnown = [&](const std::string& name) { return std::find(names.begin(), names.end(), name) != names.end(); };
      return isKnown(up.matrix) && (!isScatter(input.options) || isKnown(across.matrix)) ? "Computing" : "This model has no such matrix";
    }
    return input.trace ? "This model or prompt has no such scalar" : "Run a prompt";
  }

  static std::string tipOf(const RankMapData& data, const ViewInput& input, core::HeadRef head) {
    const ScalarName name = shownIn(input.options);
    return "Head " + core::headName(head) + "\n" + name.label() + "  " + shortNumber(data.at(name, head, input.scores.get()), 4);
  }

  static std::string gainWords(const RankMapData& data) { return data.isFolded ? "folded" : "not folded"; }

  /// The table's rows: brushed heads where several are, else all; the scalar shown first, then the matrix's other sizes.
  static std::vector<SideTableRow> rowsOf(const ViewInput& input, const RankMapData& data, const std::vector<ScalarName>& names) {
    std::vector<SideTableRow> rows;
    const bool isPart = input.selection.brushed.size() > 1;
    for (int64_t l = 0; l < data.layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h) {
        const core::HeadRef head{l, h};
        if (isPart && !isBrushed(input.selection, head)) continue;
        SideTableRow row{head, {-static_cast<double>(l * data.heads + h)}};
        for (const ScalarName& name : names) row.values.push_back(data.at(name, head, input.scores.get()));
        rows.push_back(std::move(row));
      }
    }
    return rows;
  }

  static std::vector<ScalarName> scalarsListed(const ViewInput& input) {
    std::vector<ScalarName> names{shownIn(input.options)};
    if (isScatter(input.options)) names.push_back(acrossIn(input.options));
    for (const std::string& measure : spectrumMeasures()) {
      if (measure != shownIn(input.options).measure) names.push_back({shownIn(input.options).matrix, measure});
    }
    return names;
  }

  struct FittedTable {
    std::vector<SideTableColumn> columns;
    std::vector<SideTableRow> rows;
    double width = 0;
  };
  /// As many columns as `room` holds, two at least.
  static FittedTable tableFor(const ViewInput& input, const RankMapData& data, const ViewFrame& frame, double room) {
    const std::vector<ScalarName> names = scalarsListed(input);
    std::vector<SideTableColumn> columns{{"head", "Layer and head"}};
    for (const ScalarName& name : names) {
      const bool isOther = name.isOfMatrix() && name.matrix != shownIn(input.options).matrix;
      columns.push_back({(isOther ? name.matrix + " " : std::string()) + name.shortLabel(), name.label()});
    }
    std::vector<SideTableRow> rows = rowsOf(input, data, names);
    double width = sideTableWidth(columns, rows, frame);
    while (width > room && columns.size() > 2) {  // fewer columns until they fit
      columns.pop_back();
      width = sideTableWidth(columns, rows, frame);
    }
    return {std::move(columns), std::move(rows), width};
  }

  /// Draws the table at the right of the pane and returns the width that is left for the picture. Paper has no table.
  static double addTable(Figure& figure, const ViewInput& input, const RankMapData& data, const ViewFrame& frame, double least) {
    const double gap = frame.theme.gap;
    if (frame.isPaper || frame.size.height < 120) return frame.size.width;
    const double room = frame.size.width - std::max(least, frame.size.width * 0.42) - 3 * gap;
    FittedTable table = tableFor(input, data, frame, room);
    if (table.width > room) return frame.size.width;
    const Rect area{frame.size.width - table.width - gap, gap, table.width, frame.size.height - 2 * gap};
    addSideTable(figure, area, table.columns, std::move(table.rows), input.options, input.selection, frame);
    return area.x - 2 * gap;
  }

  /// A pane too narrow for both: the table goes below the map.
  static bool isStacked(const ViewFrame& frame) { return !frame.isPaper && frame.size.width < 480 && frame.size.height > 320; }

  static void addTableBelow(Figure& figure, const ViewInput& input, const RankMapData& data, const ViewFrame& frame, double top) {
    const double margin = frame.theme.gap * 2, room = frame.size.width - 2 * margin;
    FittedTable table = tableFor(input, data, frame, room);
    const Rect area{margin, top, std::min(room, table.width), frame.size.height - top - margin - screenNotesHeight(data.notes, frame)};
    if (table.width <= room && area.height > 60)
      addSideTable(figure, area, table.columns, std::move(table.rows), input.options, input.selection, frame);
  }

  static Figure start(const ViewFrame& frame, const char* title) {
    Figure figure;
    figure.size = frame.size;
    figure.background = frame.theme.canvas;
    figure.title = title;
    return figure;
  }

  static Figure drawMap(const ViewInput& input, const RankMapData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const ScalarName name = shownIn(input.options);
    core::Matrix values(data.layers, data.heads);
    double low = 1e300, high = -1e300;
    for (int64_t l = 0; l < data.layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h) {
        const double v = data.at(name, {l, h}, input.scores.get());
        values(l, h) = static_cast<float>(v);
        if (std::isfinite(v)) low = std::min(low, v), high = std::max(high, v);
      }
    }
    if (low > high) low = 0, high = 1;
    if (low == high) low = std::min(0.0, low), high = std::max(high, low + 1);
    ValueScale scale{core::ColorScale::Linear, low, high, input.options.limits.has_value()};
    if (input.options.limits) scale.low = input.options.limits->first, scale.high = input.options.limits->second;
    const ColorRamp ramp = scalarRamp(t);

    Figure figure = start(frame, "Rank map");
    std::string title = name.label();
    if (isStacked(frame) && name.isOfMatrix()) title += ", " + foldWords(*input.model);  // a narrow pane's header has no room for it
    const double margin = frame.isPaper ? 0 : t.gap * 2, least = std::max(std::min(520.0, 40 + 14.0 * static_cast<double>(data.heads)),
                                                                          frame.measure.width(title, t.small()) + 3 * margin);
    const double width = isStacked(frame) ? frame.size.width : addTable(figure, input, data, frame, least);
    const double barText = colorBarTextWidth(scale, t, frame.measure), bar = t.gap * 2 + 10 + t.gap / 2 + barText;
    const double top = margin + (frame.isPaper ? t.smallSize * 1.6 : t.smallSize * 1.6);
    const double bottom = frame.size.height > 0 ? frame.size.height * (isStacked(frame) ? 0.6 : 1) - margin : 1e9;
    const HeadHeat heat = layOutHeat(data.layers, data.heads, {margin, top, width - margin - bar, bottom - top}, 40, frame);
    const double end = heat.cells().bottom();
    // The bar with the scale's name under it is never taller than the cells and the name never beyond the edge.
    const double barHeight = std::clamp(end - heat.top - t.smallSize * (frame.isPaper ? 1.6 : 0), t.smallSize * 3, 120.0);
    if (frame.size.height <= 0) figure.size.height = std::max(end, heat.top + barHeight + t.smallSize * 1.8) + t.gap;
    figure.add(textAt({heat.left, margin + t.smallSize * 0.7}, title, t.small(), t.ink, AnchorX::Left, AnchorY::Middle));
    addHeat(figure, heat, values, scale, ramp, input.selection, frame, [&](core::HeadRef head) { return tipOf(data, input, head); });
    addColorBar(figure, {heat.cells().right() + t.gap * 2, heat.top, 10, barHeight}, scale, ramp, t);
    if (isStacked(frame)) addTableBelow(figure, input, data, frame, std::max(end, heat.top + barHeight + t.smallSize * 1.2) + t.gap * 3);
    if (data.layersDone < data.layers)
      figure.addOverlay(textAt({heat.left, std::min(end + t.smallSize, figure.size.height - t.smallSize)},
                               std::to_string(data.layersDone) + " of " + std::to_string(data.layers) + " layers", t.small(), t.inkSecond,
                               AnchorX::Left, AnchorY::Middle));
    figure.caption = name.label() + " of every head of " + data.modelName + ", layers down, heads across" +
                     (name.isOfMatrix() ? ", norm gains " + gainWords(data) + "." : ".");
    for (const std::string& note : data.notes) figure.caption += " " + note + ".";
    addScreenNotes(figure, data.notes, frame);
    return figure;
  }

  static Figure drawScatter(const ViewInput& input, const RankMapData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const ScalarName across = acrossIn(input.options), up = shownIn(input.options);
    Figure figure = start(frame, "Rank map, two scalars");
    const double width = addTable(figure, input, data, frame, 320);
    if (frame.size.height <= 0) figure.size.height = frame.size.width * 0.75;
    double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
    const auto pointOf = [&](core::HeadRef head) {
      return Point{data.at(across, head, input.scores.get()), data.at(up, head, input.scores.get())};
    };
    const auto widen = [&](int axis, double v) { low[axis] = std::min(low[axis], v), high[axis] = std::max(high[axis], v); };
    for (int64_t l = 0; l < data.layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h) {
        const Point p = pointOf({l, h});
        if (std::isfinite(p.x) && std::isfinite(p.y)) widen(0, p.x), widen(1, p.y);
      }
    }
    ChartAxis axes[2];
    for (int i = 0; i < 2; ++i) {
      const double pad = high[i] > low[i] ? (high[i] - low[i]) * 0.04 : 1;
      axes[i] = {low[i] > high[i] ? 0 : low[i] - pad, low[i] > high[i] ? 1 : high[i] + pad, false, (i == 0 ? across : up).label()};
    }
    const ValueScale scale{core::ColorScale::Linear, 0, static_cast<double>(std::max<int64_t>(1, data.layers - 1))};
    const ColorRamp ramp = scalarRamp(t);
    const double bar = t.gap * 3 + 10 + colorBarTextWidth(scale, t, frame.measure);
    const Rect plot{t.smallSize * 4, t.smallSize * 2.6, std::max(20.0, width - t.smallSize * 4.5 - bar),
                    std::max(20.0, figure.size.height - t.smallSize * 6.6)};
    LineChart chart(figure, plot, axes[0], axes[1], t);
    chart.addAxes();
    figure.content.push_back(pickArea(plot, {Pick::Kind::Control, kBrushControl, -1, -1, {}}));
    for (int64_t l = 0; l < data.layers; ++l) {
      for (int64_t h = 0; h < data.heads; ++h)
        addDot(figure, chart, input, data, frame, {l, h}, pointOf({l, h}), ramp.at(scale.unit(static_cast<double>(l))));
    }
    addColorBar(figure, {plot.right() + t.gap * 2, plot.y, 10, std::min(120.0, plot.height)}, scale, ramp, t);
    figure.add(textAt({plot.right() + t.gap * 2, plot.y - t.gap}, "layer", t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom));
    addRubberBand(figure, plot, frame);
    figure.caption = "Every head of " + data.modelName + ": " + up.label() + " against " + across.label() +
                     ", coloured by layer, norm gains " + gainWords(data) + ".";
    addScreenNotes(figure, data.notes, frame);
    return figure;
  }

  static void addDot(Figure& figure, const LineChart& chart, const ViewInput& input, const RankMapData& data, const ViewFrame& frame,
                     core::HeadRef head, Point value, Color color) {
    const Theme& t = frame.theme;
    if (!std::isfinite(value.x) || !std::isfinite(value.y)) return;
    const Point p = chart.at(value.x, value.y);
    const double r = frame.isPaper ? 2 : data.layers * data.heads > 400 ? 3 : 4;
    const Rect dot{p.x - r, p.y - r, 2 * r, 2 * r};
    std::string tip = tipOf(data, input, head) + "\n" + acrossIn(input.options).label() + "  " + shortNumber(value.x, 4);
    figure.add(RectItem{dot, color, t.canvas, 0, r}).pick = {Pick::Kind::Head, head.layer, head.head, -1, std::move(tip)};
    const bool isSelected = head == input.selection.ref();
    if (frame.isPaper || (!isSelected && !isBrushed(input.selection, head) && head != core::HeadRef{frame.hover.layer, frame.hover.head}))
      return;
    figure.addOverlay(RectItem{dot.inset(-2), kTransparent, isSelected || isBrushed(input.selection, head) ? t.accent : t.ink, 1.5, r + 2});
    if (isSelected)
      figure.addOverlay(textAt({p.x + r + 5, p.y - r - 3}, core::headName(head), t.small(), t.accent, AnchorX::Left, AnchorY::Middle));
  }
};

}  // namespace

const View& rankMapView() {
  static const RankMapView view;
  return view;
}

}  // namespace headscope::views
