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
#include "views/line_chart.h"
#include "views/map_sampling.h"
#include "views/mechanism_words.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr double kCells = 256;

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
  bool isPerHead() const override { return true; }
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
    const core::LayerHeads layer(input.trace, data->head.layer, job);
    const core::HeadInput head = layer.input(data->head.head);
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
        kind->error = core::headErrors(head, runs, layer.outputWeight(data->head.head), options, job)[0].output;
        kind->notes = run->notes();
      } catch (const core::Error& e) {
        kind->refusal = e.fault();
      }
      data->kinds.push_back(std::move(kind));
    }
    if (head.isCausal) {
      const core::CopeRun cope(head, core::Matrix());
      core::Matrix row(1, data->count);
      for (int64_t i = 0; i < data->count; ++i) {
        cope.positions(i, 1, row.view(), job);
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
    const double count = static_cast<double>(data.kinds.size()), top = t.smallSize * 3, gap = 2 * t.gap;
    const double side = std::max(24.0, (frame.size.width - gap * (count + 1)) / count);
    const double chartHeight =
        frame.size.height > 0 ? std::max(60.0, frame.size.height - top - side - t.smallSize * 8) : frame.size.width * 0.35;
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : top + side + chartHeight + t.smallSize * 8};
    const Color colors[] = {t.ink, t.categories[0], t.categories[1], t.categories[2]};
    double most = 0;
    for (size_t k = 0; k < data.kinds.size(); ++k) {
      const auto& kind = *data.kinds[k];
      const Rect plot{gap + (side + gap) * static_cast<double>(k), top, side, side};
      TextItem title =
          textAt({plot.x, plot.y - t.gap / 2}, kind.title + (k == 0 || !kind.refusal.empty() ? "" : ", error " + shortNumber(kind.error)),
                 t.small(), colors[k], AnchorX::Left, AnchorY::Bottom);
      title.maxWidth = side + gap / 2;
      figure.add(std::move(title));
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
    const Rect plot{gap + t.smallSize * 4, top + side + t.smallSize * 3.5, frame.size.width - 2 * gap - t.smallSize * 13, chartHeight};
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
    if (!data.copeSpan.empty()) {
      figure.add(textAt({plot.right() + t.gap, plot.y + t.smallSize * 1.6 * 5}, "CoPE counts " + shortNumber(data.copeSpan.back()),
                        t.small(), t.inkSecond, AnchorX::Left, AnchorY::Top));
      figure.add(textAt({plot.right() + t.gap, plot.y + t.smallSize * 1.6 * 6}, "of " + std::to_string(data.count) + " tokens", t.small(),
                        t.inkSecond, AnchorX::Left, AnchorY::Top));
    }
    figure.caption = "Head " + headName(data.head) + " of " + data.modelName + " on the same queries and keys: as trained, rotated anew (" +
                     data.kinds[1]->title +
                     "), with ALiBi and without positions; all but the first are what-ifs. Below: mean weight against distance.";
    for (const std::string& note : data.kinds.back()->notes) figure.caption += " Note: " + note + ".";
    return figure;
  }
};

}  // namespace

const View& positionsView() {
  static const PositionsView view;
  return view;
}

}  // namespace headscope::views
