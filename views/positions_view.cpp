// Positions: the same head under its own positions, another rotation, ALiBi and none: mass against distance, and the map under
// the chosen one. options.numbers: base (0: the model's), scaling (1). Gates of CoPE are counted, its output is not shown.
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/cope.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/line_chart.h"
#include "views/map_sampling.h"
#include "views/mechanism_words.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr double kCells = 256;
enum Control : int64_t { kBase = 1, kScaling = 2 };

struct PositionsData : ViewData {
  struct Kind {
    std::string title, mechanism;
    std::vector<double> profile;  // [distance] mean mass over rows that have a key so far away
    core::Matrix map;             // [cells, cells] largest weight of each cell
    double error = 0;
    std::string refusal;
    std::vector<std::string> notes;
    MapImageCache cache;
  };
  core::HeadRef head;
  int64_t count = 0, step = 1;
  std::string modelName;
  std::vector<std::unique_ptr<Kind>> kinds;  // the model's own first
  std::vector<double> copeSpan;              // [row] positions that CoPE's gates count back to the first token
  core::Matrix copePositions;                // [cells, cells] the farthest position counted in each cell; empty: not causal
  MapImageCache copeCache;
};

std::string ropeTitle(const core::ViewOptions& options) {
  const double base = numberOf(options, "base", 10000), scaling = numberOf(options, "scaling", 1);
  return "RoPE " + (base > 0 ? shortNumber(base) : std::string("own base")) + (scaling != 1 ? " / " + shortNumber(scaling) : std::string());
}

/// Plain digits: what the mechanism's words take.
std::string plainRope(const core::ViewOptions& options) {
  const auto digits = [](double v) {
    char text[40];
    std::snprintf(text, sizeof(text), "%.9g", v);
    return std::string(text);
  };
  return "rope:base=" + digits(std::clamp(numberOf(options, "base", 10000), 0.0, 1e12)) +
         ",scaling=" + digits(std::clamp(numberOf(options, "scaling", 1), 1e-3, 1e6));
}

void fill(const core::HeadInput& input, const core::HeadRun& run, PositionsData::Kind& kind, int64_t step, core::Job& job) {
  const int64_t n = input.count(), cells = (n + step - 1) / step;
  kind.profile.assign(static_cast<size_t>(n), 0.0);
  kind.map = core::Matrix::zeros(cells, cells);
  constexpr int64_t kRows = 64;
  core::Matrix rows(kRows, n);
  std::vector<int64_t> counted(static_cast<size_t>(n), 0);
  for (int64_t first = 0; first < n; first += kRows) {
    job.checkpoint();
    const int64_t count = std::min(kRows, n - first);
    run.mapRows(first, count, rows.view().rowsFrom(0, count), job);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = first + r;
      for (int64_t j = 0; j < (input.isCausal ? i + 1 : n); ++j) {
        const size_t distance = static_cast<size_t>(std::abs(i - j));
        kind.profile[distance] += static_cast<double>(rows(r, j));
        ++counted[distance];
        float& cell = kind.map(i / step, j / step);
        cell = std::max(cell, rows(r, j));
      }
    }
  }
  for (size_t d = 0; d < kind.profile.size(); ++d) kind.profile[d] = counted[d] > 0 ? kind.profile[d] / static_cast<double>(counted[d]) : 0;
}

class PositionsView : public View {
 public:
  std::string_view name() const override { return "positions"; }
  std::string_view title() const override { return "Positions"; }
  bool isPerHead(const ViewInput&) const override { return true; }
  std::string subject(const ViewInput& input) const override { return headName(input.selection); }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    return "positions:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + headName(input.selection) + ":" +
           plainRope(input.options);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<PositionsData>();
    data->head = input.selection.ref();
    data->count = input.trace->count();
    data->step = int64_t{1} << levelFor(static_cast<double>(data->count), kCells);
    data->modelName = input.trace->model().name();
    const core::HeadInput head = core::headInput(input.trace, data->head);
    const core::Matrix outputWeight = core::headOutputWeight(input.trace->model(), data->head);
    const std::pair<std::string, std::string> kinds[] = {
        {"as trained", "dense"}, {ropeTitle(input.options), plainRope(input.options)}, {"ALiBi", "alibi"}, {"no positions", "nope"}};
    for (const auto& [title, word] : kinds) {
      auto kind = std::make_unique<PositionsData::Kind>();
      kind->title = title;
      kind->mechanism = word;
      try {
        const auto run = core::parseMechanism(word)->bind(head, job);
        fill(head, *run, *kind, data->step, job);
        const core::HeadRun* runs[] = {run.get()};
        core::ErrorOptions options;
        options.hasRows = false;
        kind->error = core::headErrors(head, runs, outputWeight, options, job)[0].output;
        kind->notes = run->notes();
      } catch (const core::Error& e) {
        kind->refusal = e.fault();
      }
      data->kinds.push_back(std::move(kind));
    }
    if (head.isCausal) {
      const core::CopeRun cope(head, core::Matrix());
      core::Matrix row(1, data->count);
      const int64_t cells = (data->count + data->step - 1) / data->step;
      data->copePositions = core::Matrix::zeros(cells, cells);
      for (int64_t i = 0; i < data->count; ++i) {
        cope.positions(i, 1, row.view(), job);
        float* cells = data->copePositions.row(i / data->step);
        for (int64_t j = 0; j <= i; ++j) cells[j / data->step] = std::max(cells[j / data->step], row(0, j));
        data->copeSpan.push_back(static_cast<double>(row(0, head.window > 0 ? std::max<int64_t>(0, i + 1 - head.window) : 0)));
      }
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.trace) return emptyFigure(frame.size, "The same head under other positions", "Open a model and run a prompt", frame.theme);
    const auto* positions = dynamic_cast<const PositionsData*>(data);
    if (positions == nullptr) return emptyFigure(frame.size, "Positions of head " + headName(input.selection), "Computing", frame.theme);
    return drawPositions(*positions, input.options, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "positions", "distance", "mean_weight"}, {}};
    if (!input.trace) return table;
    const auto data = std::static_pointer_cast<const PositionsData>(compute(input, {}, job));
    for (const auto& kind : data->kinds) {
      for (size_t d = 0; d < kind->profile.size(); ++d) {
        table.rows.push_back({std::to_string(data->head.layer), std::to_string(data->head.head), kind->mechanism, std::to_string(d),
                              shortNumber(kind->profile[d], 7)});
      }
    }
    return table;
  }

  /// The wheel moves the base by a quarter of a decade.
  bool handle(const Gesture& gesture, const ViewInput&, Size, core::ViewOptions& options, core::Selection&) const override {
    if (gesture.kind == Gesture::Kind::DoubleClick) {
      options.numbers.erase("base");
      options.numbers.erase("scaling");
      return true;
    }
    for (const auto& [slider, key] : {std::pair{baseSlider(), "base"}, std::pair{scalingSlider(), "scaling"}}) {
      if (!isOn(slider, gesture)) continue;
      options.numbers[key] = valueOf(slider, gesture);
      return true;
    }
    if (gesture.kind != Gesture::Kind::Wheel) return false;
    const double base = std::max(10.0, numberOf(options, "base", 10000));
    options.numbers["base"] = std::clamp(base * std::pow(10.0, gesture.delta.y > 0 ? 0.25 : -0.25), 10.0, 1e9);
    return true;
  }

 private:
  static Figure drawPositions(const PositionsData& data, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Positions of head " + headName(data.head);
    // In a column of a page the maps take two rows
    const bool isNarrow = frame.size.width<t.smallSize * 60, hasCope = data.copePositions.size()> 0;
    const int64_t maps = static_cast<int64_t>(data.kinds.size()) + (hasCope ? 1 : 0), columns = isNarrow ? 3 : maps,
                  mapRows = (maps + columns - 1) / columns;
    const double gap = 1.5 * t.gap, titles = t.smallSize * 2.9, start = frame.isPaper ? 0 : t.smallSize * 2.4;
    const double high = frame.size.height > 0 ? (frame.size.height - start) * 0.55 / static_cast<double>(mapRows) - titles : 1e9;
    const double side =
        std::max(24.0, std::min(high, (frame.size.width - gap * static_cast<double>(columns + 1)) / static_cast<double>(columns)));
    const double below = start + (side + titles + t.gap) * static_cast<double>(mapRows);
    const double chartHeight =
        frame.size.height > 0 ? std::max(40.0, frame.size.height - below - t.smallSize * 7) : frame.size.width * (isNarrow ? 0.45 : 0.3);
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : below + chartHeight + t.smallSize * 7};
    if (!frame.isPaper) addSliders(figure, options, frame);
    const Color colors[] = {t.ink, t.categories[0], t.categories[1], t.categories[2]};
    const auto place = [&](size_t index) {
      const double col = static_cast<double>(index % static_cast<size_t>(columns)),
                   line = static_cast<double>(index / static_cast<size_t>(columns));
      return Rect{gap + (side + gap) * col, start + titles + (side + titles + t.gap) * line, side, side};
    };
    const auto addTitle = [&](const Rect& plot, const std::string& first, const std::string& second, Color color) {
      TextItem title = textAt({plot.x, plot.y - t.smallSize * 1.5}, first, t.small(), color, AnchorX::Left, AnchorY::Bottom);
      title.maxWidth = side + gap * 0.8;
      figure.add(std::move(title));
      TextItem under = textAt({plot.x, plot.y - t.gap / 3}, second, t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom);
      under.maxWidth = side + gap * 0.8;
      figure.add(std::move(under));
    };
    double most = 0;
    for (size_t k = 0; k < data.kinds.size(); ++k) {
      const auto& kind = *data.kinds[k];
      const Rect plot = place(k);
      addTitle(plot, kind.title, k == 0 ? "error 0" : !kind.refusal.empty() ? "refused" : "error " + shortNumber(kind.error), colors[k]);
      if (!kind.refusal.empty()) {
        figure.add(HatchItem{plot, t.line});
        continue;
      }
      const double cells = static_cast<double>(kind.map.rows());
      addMap(figure, plot, kind.map, {0, cells, 0, cells}, scaleFor(options, kind.map, options.hideFirst && kind.map.cols() > 1 ? 1 : 0),
             attentionRamp(t), kind.cache, t, frame.isPaper);
      figure.add(RectItem{plot, kTransparent, t.line, 0});
      for (size_t d = 0; d < kind.profile.size(); ++d) most = std::max(most, kind.profile[d]);
    }
    if (hasCope) {
      const Rect plot = place(data.kinds.size());
      double farthest = 0;
      for (const double span : data.copeSpan) farthest = std::max(farthest, span);
      addTitle(plot, "CoPE positions", "0 to " + shortNumber(farthest) + " of " + std::to_string(data.count), t.inkSecond);
      const double cells = static_cast<double>(data.copePositions.rows());
      addMap(figure, plot, data.copePositions, {0, cells, 0, cells}, {core::ColorScale::Linear, 0, std::max(1.0, farthest), false},
             attentionRamp(t), data.copeCache, t, frame.isPaper);
      Item& area = figure.add(RectItem{plot, kTransparent, t.line, 0});
      area.pick = {Pick::Kind::Value, -1, -1, -1,
                   "Positions that CoPE's gates count from each query back to each key.\nIts table is trained and this checkpoint has "
                   "none: no map."};
    }
    const Rect plot{gap + t.smallSize * 4, below + t.smallSize * 2, frame.size.width - 2 * gap - t.smallSize * (isNarrow ? 11 : 13),
                    chartHeight};
    LineChart chart(figure, plot, {1, std::max(2.0, static_cast<double>(data.count)), true, "distance + 1, tokens"},
                    {0, most > 0 ? most * 1.05 : 1, false, "mean weight"}, t);
    chart.addAxes();
    for (size_t k = 0; k < data.kinds.size(); ++k) {
      const auto& kind = *data.kinds[k];
      std::vector<Point> points;
      for (size_t d = 0; d < kind.profile.size(); ++d) points.push_back({static_cast<double>(d + 1), kind.profile[d]});
      chart.addLine(points, colors[k], k == 0 ? 2 : 1.2, {Pick::Kind::Value, static_cast<int64_t>(k), -1, -1, kind.title});
      figure.add(textAt({plot.right() + t.gap, plot.y + t.smallSize * 1.6 * static_cast<double>(k)}, kind.title, t.small(), colors[k],
                        AnchorX::Left, AnchorY::Top));
    }
    figure.caption = "Head " + headName(data.head) + " of " + data.modelName + " on the same queries and keys: as trained, rotated anew (" +
                     data.kinds[1]->title + "), with ALiBi and without positions; all but the first are what-ifs." +
                     (hasCope ? " CoPE positions: how many gates open between key and query, no map, as its table is trained." : "") +
                     " Below: mean weight against distance.";
    for (const std::string& note : data.kinds.back()->notes) figure.caption += " Note: " + note + ".";
    return figure;
  }

  static FigureSlider baseSlider() { return {kBase, 10, 1e7, true, true}; }
  static FigureSlider scalingSlider() { return {kScaling, 0.25, 32, true, false}; }

  static void addSliders(Figure& figure, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const double base = numberOf(options, "base", 10000), scaling = numberOf(options, "scaling", 1);
    Point at{1.5 * t.gap, t.smallSize * 1.2};
    at.x = addSlider(figure, baseSlider(), at, base, "RoPE base", base > 0 ? bigNumber(base) : "own", "Base of the other rotation", frame) +
           3 * t.gap;
    addSlider(figure, scalingSlider(), at, scaling, "scaling", shortNumber(scaling), "Positions are divided by it", frame);
  }
};

}  // namespace

const View& positionsView() {
  static const PositionsView view;
  return view;
}

}  // namespace headscope::views
