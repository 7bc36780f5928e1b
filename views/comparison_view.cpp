// Mechanism comparison on one head: true map, effective map and their signed difference; a table of many mechanisms; error
// against cost. options.words: mechanism (of the maps), mechanisms (of the table, separated by ";").
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/mechanisms/comparison.h"
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

constexpr double kCells = 384;
constexpr const char* kTable =
    "local:window=64;strided:stride=8;fixed:stride=8;sinks;topk:k=16;topp:p=0.9;clustered;linear;performer;linformer;nystrom;dense_"
    "attention";
constexpr const char* kShown = "local:window=16";

struct ComparisonData : ViewData {
  std::string mechanism, refusal, modelName;
  core::HeadRef head;
  int64_t count = 0, step = 1;
  core::Matrix truth, effective, difference;   // [cells, cells], of each cell the entry largest in size
  bool isSigned = false;                       // the effective map has negative entries or does not sum to 1
  std::vector<core::MechanismResult> results;  // dense first
  MapImageCache caches[3];
};

void keepLarger(float& cell, float value) {
  if (std::abs(value) > std::abs(cell)) cell = value;
}

void fillMaps(const core::HeadInput& input, const core::Mechanism& mechanism, ComparisonData& data, core::Job& job) {
  const int64_t n = data.count, cells = (n + data.step - 1) / data.step;
  const auto run = mechanism.bind(input, job), dense = core::parseMechanism("dense")->bind(input, job);
  core::Matrix a(data.step, n), b(data.step, n);
  for (core::Matrix* m : {&data.truth, &data.effective, &data.difference}) *m = core::Matrix::zeros(cells, cells);
  for (int64_t first = 0; first < n; first += data.step) {
    job.checkpoint();
    const int64_t height = std::min(data.step, n - first);
    dense->mapRows(first, height, a.view().rowsFrom(0, height), job);
    run->mapRows(first, height, b.view().rowsFrom(0, height), job);
    for (int64_t r = 0; r < height; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        const int64_t row = first / data.step, col = j / data.step;
        keepLarger(data.truth(row, col), a(r, j));
        keepLarger(data.effective(row, col), b(r, j));
        keepLarger(data.difference(row, col), b(r, j) - a(r, j));
      }
    }
  }
}

float largestSize(const core::Matrix& m) {
  float largest = 0;
  for (int64_t i = 0; i < m.size(); ++i) largest = std::max(largest, std::abs(m.data()[i]));
  return largest > 0 ? largest : 1.0f;
}

class ComparisonView : public View {
 public:
  std::string_view name() const override { return "comparison"; }
  std::string_view title() const override { return "Mechanism comparison"; }
  bool isPerHead() const override { return true; }
  std::string subject(const ViewInput& input) const override {
    return headName(input.selection) + ", " + mechanismOf(input.options, kShown);
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    return "comparison:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + headName(input.selection) + ":" +
           mechanismOf(input.options, kShown) + ":" + listOf(input.options);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<ComparisonData>();
    data->mechanism = mechanismOf(input.options, kShown);
    data->head = input.selection.ref();
    data->modelName = input.trace->model().name();
    data->count = input.trace->count();
    data->step = int64_t{1} << levelFor(static_cast<double>(data->count), kCells);
    try {
      const auto shown = core::parseMechanism(data->mechanism);
      auto all = core::parseMechanisms("dense;" + listOf(input.options));
      const bool isListed = std::any_of(all.begin(), all.end(), [&](const auto& m) { return m->spelled() == shown->spelled(); });
      if (!isListed) all.insert(all.begin() + 1, shown);
      const core::LayerHeads layer(input.trace, data->head.layer, job);
      const core::HeadInput head = layer.input(data->head.head);
      data->results = core::compareMechanisms(head, layer.outputWeight(data->head.head), all, {}, job);
      data->isSigned = !shown->isNormalised();
      for (const core::MechanismResult& r : data->results) {
        if (r.mechanism == shown->spelled()) data->refusal = r.refusal;
      }
      data->mechanism = shown->spelled();
      if (data->refusal.empty()) fillMaps(head, *shown, *data, job);
    } catch (const core::Error& e) {
      data->refusal = e.what();
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.trace)
      return emptyFigure(frame.size, "One head under many attention mechanisms", "Open a model and run a prompt", frame.theme);
    const auto* comparison = dynamic_cast<const ComparisonData*>(data);
    if (comparison == nullptr)
      return emptyFigure(frame.size, "Many mechanisms on head " + headName(input.selection), "Computing", frame.theme);
    if (comparison->results.empty()) return emptyFigure(frame.size, comparison->refusal, "Choose another mechanism", frame.theme);
    return drawComparison(*comparison, input.options, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "mechanism", "output_error", "mass_kept", "kl", "cosine", "rank_correlation", "operations", "bytes_held",
                 "seconds", "notes"},
                {}};
    if (!input.trace) return table;
    const auto data = std::static_pointer_cast<const ComparisonData>(compute(input, {}, job));
    for (const core::MechanismResult& r : data->results) {
      std::vector<std::string> row{std::to_string(data->head.layer), std::to_string(data->head.head), r.mechanism};
      for (const double v : {r.errors.output, r.errors.meanMassKept, r.errors.meanKl, r.errors.meanCosine, r.errors.meanRankCorrelation,
                             r.cost.operations, r.cost.bytesHeld, r.seconds}) {
        row.push_back(r.refusal.empty() ? shortNumber(v, 7) : "");
      }
      row.push_back(r.refusal.empty() ? joined(r.notes) : r.refusal);
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (gesture.kind != Gesture::Kind::Click || !input.trace) return false;
    if (gesture.pick.kind == Pick::Kind::Value && !gesture.pick.tip.empty()) {
      options.words["mechanism"] = gesture.pick.tip.substr(0, gesture.pick.tip.find('\n'));
      return true;
    }
    if (gesture.pick.kind != Pick::Kind::Cell) return false;
    selection.query = gesture.pick.a;
    selection.key = gesture.pick.b;
    return true;
  }

 private:
  static std::string listOf(const core::ViewOptions& options) {
    const auto found = options.words.find("mechanisms");
    return found == options.words.end() || found->second.empty() ? kTable : found->second;
  }

  static Pick rowPick(const core::MechanismResult& r) {
    return {Pick::Kind::Value, -1, -1, -1,
            r.mechanism + "\n" +
                (r.refusal.empty() ? "output error " + shortNumber(r.errors.output) + ", " + bigNumber(r.cost.operations) + " operations"
                                   : r.refusal)};
  }

  static Figure drawComparison(const ComparisonData& data, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Mechanisms on head " + headName(data.head);
    const double top = 2 * t.gap + t.smallSize * 1.4, line = t.smallSize * 1.7;
    const double tableHeight = line * static_cast<double>(data.results.size() + 1);
    const double width = (frame.size.width - 4 * t.gap) / 3;
    const double room = frame.size.height > 0 ? frame.size.height - top - tableHeight - 5 * t.gap : width;
    const double side = std::clamp(room, 48.0, std::max(48.0, width));
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : top + side + tableHeight + 5 * t.gap};
    if (data.refusal.empty()) {
      addPicture(figure, {t.gap, top, side, side}, data, 0, options, frame);
      addPicture(figure, {2 * t.gap + width, top, side, side}, data, 1, options, frame);
      addPicture(figure, {3 * t.gap + 2 * width, top, side, side}, data, 2, options, frame);
    } else {
      figure.add(textAt({t.gap, top}, data.mechanism + ": " + data.refusal, t.sans(), t.warning, AnchorX::Left, AnchorY::Top));
    }
    const double y = top + (data.refusal.empty() ? side : line) + 3 * t.gap;
    const double tableWidth = frame.size.width * 0.68;
    addTable(figure, {t.gap, y, tableWidth - t.gap, tableHeight}, data, line, t);
    addScatter(figure,
               {tableWidth + 6 * t.gap, y + t.gap, frame.size.width - tableWidth - 8 * t.gap, std::max(40.0, tableHeight - 5 * t.gap)},
               data, t);
    figure.caption = "Head " + headName(data.head) + " of " + data.modelName + ", " + std::to_string(data.count) +
                     " tokens. Maps: true, under " + data.mechanism +
                     ", and the second less the first. Output error is of what the head writes; operations are counted, work is their "
                     "ratio to the true head's.";
    for (const core::MechanismResult& r : data.results) {
      if (r.mechanism == data.mechanism && !r.notes.empty()) figure.caption += " Note: " + joined(r.notes) + ".";
    }
    return figure;
  }

  static void addPicture(Figure& figure, const Rect& plot, const ComparisonData& data, int which, const core::ViewOptions& options,
                         const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const core::Matrix& values = which == 0 ? data.truth : which == 1 ? data.effective : data.difference;
    const bool isDiverging = which == 2 || (which == 1 && data.isSigned);
    ValueScale scale =
        scaleFor(options, which == 1 && !data.isSigned ? data.truth : values, options.hideFirst && values.cols() > 1 ? 1 : 0);
    if (isDiverging)
      scale = {core::ColorScale::Linear, -static_cast<double>(largestSize(values)), static_cast<double>(largestSize(values)), false};
    const char* const names[] = {"true map", "effective map", "effective - true"};
    figure.add(textAt({plot.x, plot.y - t.gap / 2},
                      std::string(names[which]) + (isDiverging ? ", " + shortNumber(scale.low) + " to " + shortNumber(scale.high) : ""),
                      t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom));
    const double cells = static_cast<double>(values.rows());
    addMap(figure, plot, values, {0, cells, 0, cells}, scale, isDiverging ? divergingRamp(t) : attentionRamp(t), data.caches[which], t,
           frame.isPaper);
    Item& area = figure.add(RectItem{plot, kTransparent, t.line, 0});
    area.pick = {Pick::Kind::Cell, -1, -1, -1, ""};
    area.pickRows = area.pickCols = cells;
    area.pickStep = static_cast<double>(data.step);
  }

  static void addTable(Figure& figure, const Rect& rect, const ComparisonData& data, double line, const Theme& t) {
    const char* const heads[] = {"error", "kept", "KL", "cosine", "work", "held", "ms"};
    const double first = rect.width * 0.36, step = (rect.width - first) / 7;
    for (int c = 0; c < 7; ++c) {
      figure.add(textAt({rect.x + first + step * (c + 1), rect.y}, heads[c], t.small(), t.inkSecond, AnchorX::Right, AnchorY::Top));
    }
    const double dense = std::max(1.0, data.results[0].cost.operations);
    for (size_t i = 0; i < data.results.size(); ++i) {
      const core::MechanismResult& r = data.results[i];
      const double y = rect.y + line * static_cast<double>(i + 1);
      if (r.mechanism == data.mechanism)
        figure.add(RectItem{{rect.x - t.gap / 2, y - 1, rect.width + t.gap, line}, t.raised, kTransparent, 1, t.radius});
      TextItem label = textAt({rect.x, y}, r.mechanism, t.small(), r.isCausal ? t.ink : t.warning, AnchorX::Left, AnchorY::Top);
      label.maxWidth = first - t.gap;
      figure.add(std::move(label));
      figure.content.push_back(pickArea({rect.x, y - 1, rect.width, line}, rowPick(r)));
      const auto number = [](double v, int digits = 3) {
        return std::isnan(v) ? std::string("-") : shortNumber(std::abs(v) < 1e-6 ? 0.0 : v, digits);
      };
      const std::string cells[] = {number(r.errors.output),     number(r.errors.meanMassKept),     number(r.errors.meanKl),
                                   number(r.errors.meanCosine), number(r.cost.operations / dense), byteSize(r.cost.bytesHeld),
                                   number(1000 * r.seconds, 2)};
      if (!r.refusal.empty()) {
        TextItem refusal = textAt({rect.x + first, y}, r.refusal, t.small(), t.inkSecond, AnchorX::Left, AnchorY::Top);
        refusal.maxWidth = rect.width - first;
        figure.add(std::move(refusal));
        continue;
      }
      for (int c = 0; c < 7; ++c)
        figure.add(textAt({rect.x + first + step * (c + 1), y}, cells[c], t.small(), t.ink, AnchorX::Right, AnchorY::Top));
    }
  }

  static void addScatter(Figure& figure, const Rect& plot, const ComparisonData& data, const Theme& t) {
    double low = 1e300, high = 0, worst = 0.1;
    for (size_t i = 1; i < data.results.size(); ++i) {
      const core::MechanismResult& r = data.results[i];
      if (!r.refusal.empty() || r.cost.operations <= 0) continue;
      low = std::min(low, r.cost.operations);
      high = std::max(high, r.cost.operations);
      worst = std::max(worst, std::min(2.0, r.errors.output));
    }
    if (high <= 0 || plot.width < 40) return;
    LineChart chart(figure, plot, {low / 1.5, high * 1.5, true, "operations"}, {0, worst * 1.1, false, "output error"}, t);
    chart.addAxes();
    for (size_t i = 1; i < data.results.size(); ++i) {
      const core::MechanismResult& r = data.results[i];
      if (!r.refusal.empty() || r.cost.operations <= 0) continue;
      const Point at = chart.at(r.cost.operations, std::min(2.0, r.errors.output));
      const double size = r.mechanism == data.mechanism ? 8 : 6;
      figure.add(RectItem{{at.x - size / 2, at.y - size / 2, size, size}, r.isCausal ? t.accent : t.warning, kTransparent, 1, size / 2})
          .pick = rowPick(r);
    }
  }
};

}  // namespace

const View& comparisonView() {
  static const ComparisonView view;
  return view;
}

}  // namespace headscope::views
