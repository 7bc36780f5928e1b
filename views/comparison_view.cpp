// Mechanism comparison on one head: true map, effective map and their signed difference; a table of all mechanisms; error
// against cost. options.words: mechanism (of the maps), mechanisms (of the table, separated by ";"; default: every one),
// scatter ("all": a point a head), replace (whole_model.h); options.numbers: seeds (of random mechanisms: mean and spread).
#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/budget.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "views/color_ramp.h"
#include "views/comparison_data.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/option_values.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr double kCells = 384;

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

using Mechanisms = std::vector<std::shared_ptr<const core::Mechanism>>;

/// Every head of the trace under every mechanism: errors and operations, without maps.
void fillHeads(const ViewInput& input, const Mechanisms& all, ComparisonData& data, core::Job& job) {
  const core::Budget budget = core::measureBudget(input.trace, std::span(all).subspan(1), job);
  for (const core::HeadBudget& head : budget.heads) {
    for (const core::BudgetOption& option : head.options) {
      for (size_t m = 1; m < data.results.size(); ++m) {
        if (data.results[m].mechanism == option.mechanism && option.operations > 0)
          data.heads.push_back({head.head, m, option.error, option.operations / head.denseOperations});
      }
    }
  }
}

class ComparisonView : public View {
 public:
  std::string_view name() const override { return "comparison"; }
  std::string_view title() const override { return "Mechanism comparison"; }
  bool isPerHead(const ViewInput&) const override { return true; }
  std::string subject(const ViewInput& input) const override { return shownSubject(input); }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    return "comparison:" + shownKey(input) + ":" + listOf(input) + (isOfAllHeads(input.options) ? ":heads" : "") + ":" +
           std::to_string(seedsOf(input.options)) + wholeModelKey(input.options);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<ComparisonData>();
    data->mechanism = shownMechanism(input);
    data->head = input.selection.ref();
    data->modelName = input.trace->model().name();
    data->count = input.trace->count();
    data->step = int64_t{1} << levelFor(static_cast<double>(data->count), kCells);
    try {
      const auto shown = core::parseMechanism(data->mechanism);
      data->mechanism = shown->spelled();
      Mechanisms all = core::parseMechanisms("dense;" + listOf(input));
      const bool isListed = std::any_of(all.begin(), all.end(), [&](const auto& m) { return m->spelled() == shown->spelled(); });
      if (!isListed) all.insert(all.begin() + 1, shown);
      const core::LayerHeads layer(input.trace, data->head.layer, job);
      const core::HeadInput head = layer.input(data->head.head);
      core::ComparisonOptions options;
      options.seeds = seedsOf(input.options);
      data->results = core::compareMechanisms(head, layer.outputWeight(data->head.head), all, options, job);
      data->isSigned = !shown->isNormalised();
      for (const core::MechanismResult& r : data->results) {
        if (r.mechanism == data->mechanism) data->refusal = r.refusal;
      }
      if (data->refusal.empty()) {
        fillMaps(head, *shown, *data, job);
        data->whole = wholeModel(input, data->mechanism, job);
      }
      if (isOfAllHeads(input.options)) fillHeads(input, all, *data, job);
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
    for (const HeadPoint& p : data->heads) {  // every head: what the scatter shows
      if (p.head == data->head) continue;
      const double dense = data->results[0].cost.operations;
      table.rows.push_back({std::to_string(p.head.layer), std::to_string(p.head.head), data->results[p.mechanism].mechanism,
                            shortNumber(p.error, 7), "", "", "", "", shortNumber(p.work * dense, 12), "", "", ""});
    }
    return table;
  }

  /// A row of the table or a point opens that mechanism, a point of all heads its head too.
  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (gesture.kind != Gesture::Kind::Click || !input.trace) return false;
    if (toggleWholeModel(gesture, options)) return true;
    if (gesture.pick.kind == Pick::Kind::Value && !gesture.pick.tip.empty()) {
      chooseMechanism(options, gesture.pick.tip.substr(0, gesture.pick.tip.find('\n')));
      if (gesture.pick.a >= 0) selection.layer = gesture.pick.a, selection.head = gesture.pick.b, selection.brushed.clear();
      return true;
    }
    if (gesture.pick.kind != Pick::Kind::Cell) return false;
    selection.query = gesture.pick.a;
    selection.key = gesture.pick.b;
    return true;
  }

 private:
  static std::string listOf(const ViewInput& input) {
    const auto found = input.options.words.find("mechanisms");
    if (found != input.options.words.end() && !found->second.empty()) return found->second;
    return everyMechanism(input.trace ? input.trace->count() : 0);
  }
  static int64_t seedsOf(const core::ViewOptions& options) {
    return static_cast<int64_t>(std::clamp(numberIn(options, "seeds", 1), 1.0, 64.0));
  }
  static bool isOfAllHeads(const core::ViewOptions& options) {
    const auto found = options.words.find("scatter");
    return found != options.words.end() && found->second == "all";
  }

  static Figure drawComparison(const ComparisonData& data, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Mechanisms on head " + headName(data.head);
    const double top = 2 * t.gap + t.smallSize * 1.4, line = t.smallSize * 1.6, width = frame.size.width - 2 * t.gap;
    const bool isNarrow = width < t.smallSize * 60;  // a column of a page: the scatter goes below the table
    const double allRows = line * static_cast<double>(data.results.size() + 2), scatter = isNarrow ? width * 0.55 : 0;
    const double third = (width - 2 * t.gap) / 3, below = 6 * t.gap + line * 2;
    const double room = frame.size.height > 0 ? frame.size.height - top - below - std::min(allRows, frame.size.height * 0.45) : third;
    const double side = std::clamp(room, std::min(48.0, third), third);
    if (data.refusal.empty()) {
      for (int i = 0; i < 3; ++i) addPicture(figure, {t.gap + (third + t.gap) * i, top, side, side}, data, i, options, frame);
    } else {
      TextItem refusal = textAt({t.gap, top}, data.mechanism + ": " + data.refusal, t.sans(), t.warning, AnchorX::Left, AnchorY::Top);
      refusal.maxWidth = width;
      figure.add(std::move(refusal));
    }
    double y = top + (data.refusal.empty() ? side : line) + 1.5 * t.gap;
    if (data.refusal.empty()) y += addWholeModelLine(figure, {t.gap, y}, width, data.whole, frame);
    y += t.gap;
    const double left = frame.size.height > 0 ? std::max(line * 3, frame.size.height - y - t.gap) : allRows + scatter;
    const bool hasScatter = !isNarrow || frame.size.height <= 0 || left > allRows + width * 0.3;
    const double tableHeight = isNarrow && hasScatter ? std::min(allRows, left) : std::min(left, allRows);
    const double tableWidth = isNarrow ? width : width * 0.64;
    addComparisonTable(figure, {t.gap, y, tableWidth, tableHeight}, data, line, t);
    const double axes = t.smallSize * 4.5;
    if (isNarrow && hasScatter) {
      const double plotHeight = frame.size.height > 0 ? std::min(scatter, left - tableHeight - axes) : scatter;
      addComparisonScatter(figure, {t.gap + axes, y + tableHeight + axes * 0.8, width - axes - t.gap, plotHeight}, data, t);
      y += axes * 1.8 + plotHeight;
    } else if (!isNarrow) {
      const double plotLeft = 2 * t.gap + tableWidth + axes;
      addComparisonScatter(figure,
                           {plotLeft, y + t.smallSize * 2, frame.size.width - plotLeft - 2 * t.gap,
                            std::min(std::max(40.0, left - t.smallSize * 6), frame.size.width * 0.4)},
                           data, t);
    }
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : y + tableHeight + 2 * t.gap};
    figure.caption = "Head " + headName(data.head) + " of " + data.modelName + ", " + std::to_string(data.count) +
                     " tokens. Maps: true, under " + data.mechanism +
                     ", and the second less the first. Error is of what the head writes; kept: share of the true mass on keys looked at; "
                     "work: counted operations over the true head's; held: working memory of one thread; ms: measured. Orange names see "
                     "later tokens, which this model never does.";
    if (!data.heads.empty()) figure.caption += " Each point is a head under a mechanism; blue: " + data.mechanism + ".";
    if (!data.whole.heads.empty()) figure.caption += " Whole model: " + wholeModelText(data.whole) + ".";
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
    const char* const names[] = {"true map", "effective map", "difference"};
    TextItem title =
        textAt({plot.x, plot.y - t.gap / 2}, std::string(names[which]) + (isDiverging ? ", \u00B1" + shortNumber(scale.high, 2) : ""),
               t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom);
    title.maxWidth = std::max(plot.width, t.smallSize * 8);
    figure.add(std::move(title));
    const double cells = static_cast<double>(values.rows());
    addMap(figure, plot, values, {0, cells, 0, cells}, scale, isDiverging ? divergingRamp(t) : attentionRamp(t), data.caches[which], t,
           frame.isPaper);
    Item& area = figure.add(RectItem{plot, kTransparent, t.line, 0});
    area.pick = {Pick::Kind::Cell, -1, -1, -1, ""};
    area.pickRows = area.pickCols = cells;
    area.pickStep = static_cast<double>(data.step);
  }
};

}  // namespace

const View& comparisonView() {
  static const ComparisonView view;
  return view;
}

}  // namespace headscope::views
