// Sparse V: how many values each head really reads: share of the visible keys that reach a share of the mass, as a layers x
// heads map, and the selected head's curve with best, mean and worst row. options.numbers: share (default 0.9), weighted (0, 1).
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/value_access.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/mechanism_words.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

const std::vector<double>& shares() {
  static const auto* all = new std::vector<double>{0.8, 0.9, 0.95, 0.99, 0.999};
  return *all;
}

struct SparseData : ViewData {
  struct Head {
    std::vector<core::AccessSummary> plain, weighted, withoutSink;  // [share]
    double sink = 0;                                                // mean mass on the first key
  };
  int64_t layers = 0, heads = 0, count = 0;
  std::string modelName;
  std::vector<Head> all;  // layer-major
  const Head& at(core::HeadRef h) const { return all[static_cast<size_t>(h.layer * heads + h.head)]; }
};

size_t shareIndex(const core::ViewOptions& options) {
  const double asked = numberOf(options, "share", 0.9);
  size_t best = 0;
  for (size_t i = 0; i < shares().size(); ++i) {
    if (std::abs(shares()[i] - asked) < std::abs(shares()[best] - asked)) best = i;
  }
  return best;
}

class SparseView : public View {
 public:
  std::string_view name() const override { return "sparse_v"; }
  std::string_view title() const override { return "Sparse V"; }
  std::string subject(const ViewInput& input) const override {
    return shortNumber(100 * shares()[shareIndex(input.options)]) + " % of the mass" +
           (numberOf(input.options, "weighted", 0) > 0 ? ", weighted by values" : "");
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    return input.trace ? "sparse_v:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) : std::string();
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<SparseData>();
    data->layers = input.trace->layersRun();
    data->heads = input.trace->spec().heads;
    data->count = input.trace->count();
    data->modelName = input.trace->model().name();
    for (int64_t l = 0; l < data->layers; ++l) {
      const core::LayerHeads layer(input.trace, l, job);
      for (int64_t h = 0; h < data->heads; ++h) {
        job.report(static_cast<double>(l * data->heads + h) / static_cast<double>(data->layers * data->heads),
                   "head " + headName(core::HeadRef{l, h}));
        const core::HeadInput head = layer.input(h);
        const core::ValueAccess access = core::valueAccess(head, layer.outputWeight(h), shares(), job);
        SparseData::Head mine;
        for (size_t p = 0; p < shares().size(); ++p) {
          mine.plain.push_back(core::summarise(access.plain[p], head.isCausal));
          mine.weighted.push_back(core::summarise(access.weighted[p], head.isCausal));
          mine.withoutSink.push_back(core::summarise(access.withoutSink[p], head.isCausal));
        }
        for (const float m : access.sinkMass) mine.sink += static_cast<double>(m) / static_cast<double>(access.sinkMass.size());
        data->all.push_back(std::move(mine));
      }
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.trace)
      return emptyFigure(frame.size, "How many values each head really reads", "Open a model and run a prompt", frame.theme);
    const auto* sparse = dynamic_cast<const SparseData*>(data);
    if (sparse == nullptr || sparse->all.empty()) return emptyFigure(frame.size, "Keys needed by every head", "Computing", frame.theme);
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Keys needed, " + subject(input);
    const double height = frame.size.height > 0 ? frame.size.height : frame.size.width * 0.6;
    figure.size = {frame.size.width, height};
    const double mapWidth = frame.size.width * 0.5, top = t.smallSize * 3;
    addHeads(figure, {t.gap * 4, top, mapWidth - 5 * t.gap, height - top - 2 * t.gap}, *sparse, input, t);
    const double left = mapWidth + t.smallSize * 5;
    addCurve(figure, {left, top, frame.size.width - left - t.smallSize * 6, height - top - t.smallSize * 5}, *sparse, input, t);
    figure.caption = "Fewest keys whose weights reach a share of each row's mass, " + sparse->modelName + ", " +
                     std::to_string(sparse->count) + " tokens, every row counted. Left: mean share of the visible keys, " + subject(input) +
                     "; right: head " + headName(input.selection) + ".";
    return figure;
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "share", "kind", "mean_keys", "best_keys", "worst_keys", "mean_fraction", "first_key_mass"}, {}};
    if (!input.trace) return table;
    const auto data = std::static_pointer_cast<const SparseData>(compute(input, {}, job));
    for (size_t i = 0; i < data->all.size(); ++i) {
      for (size_t p = 0; p < shares().size(); ++p) {
        const SparseData::Head& head = data->all[i];
        const std::pair<const char*, const core::AccessSummary*> kinds[] = {
            {"plain", &head.plain[p]}, {"weighted", &head.weighted[p]}, {"without_first", &head.withoutSink[p]}};
        for (const auto& [kind, s] : kinds) {
          table.rows.push_back({std::to_string(i / static_cast<size_t>(data->heads)), std::to_string(i % static_cast<size_t>(data->heads)),
                                shortNumber(shares()[p]), kind, shortNumber(s->mean, 7), std::to_string(s->best), std::to_string(s->worst),
                                shortNumber(s->meanFraction, 7), shortNumber(head.sink, 7)});
        }
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput&, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      selection.brushed.clear();
      return true;
    }
    if (gesture.kind != Gesture::Kind::Wheel) return false;
    const size_t now = shareIndex(options), last = shares().size() - 1;
    options.numbers["share"] = shares()[gesture.delta.y > 0 ? std::min(now + 1, last) : now - std::min<size_t>(now, 1)];
    return true;
  }

 private:
  static void addHeads(Figure& figure, const Rect& rect, const SparseData& data, const ViewInput& input, const Theme& t) {
    const ColorRamp ramp = scalarRamp(t);
    const double cell =
        std::max(3.0, std::min(rect.width / static_cast<double>(data.heads), rect.height / static_cast<double>(data.layers)));
    const size_t p = shareIndex(input.options);
    const bool isWeighted = numberOf(input.options, "weighted", 0) > 0;
    figure.add(textAt({rect.x, rect.y - t.gap}, "share of visible keys needed, mean over rows", t.small(), t.inkSecond, AnchorX::Left,
                      AnchorY::Bottom));
    for (int64_t l = 0; l < data.layers; ++l) {
      figure.add(textAt({rect.x - t.gap / 2, rect.y + cell * (static_cast<double>(l) + 0.5)}, std::to_string(l), t.small(), t.inkSecond,
                        AnchorX::Right, AnchorY::Middle));
      for (int64_t h = 0; h < data.heads; ++h) {
        const SparseData::Head& head = data.at({l, h});
        const core::AccessSummary& s = isWeighted ? head.weighted[p] : head.plain[p];
        const Rect box{rect.x + cell * static_cast<double>(h), rect.y + cell * static_cast<double>(l), cell - 1, cell - 1};
        const Color fill = ramp.at(s.meanFraction);
        figure.add(RectItem{box, fill, kTransparent}).pick = {
            Pick::Kind::Head, l, h, -1,
            "Head " + headName(core::HeadRef{l, h}) + "\n" + shortNumber(100 * s.meanFraction) + " % of the visible keys, " +
                shortNumber(s.mean) + " keys\nbest row " + std::to_string(s.best) + ", worst row " + std::to_string(s.worst) +
                "\nfirst key " + shortNumber(100 * head.sink) + " % of the mass"};
        if (cell > t.smallSize * 2.6) {
          figure.add(
              textAt(box.center(), shortNumber(100 * s.meanFraction, 2), t.small(), inkOn(fill, t), AnchorX::Center, AnchorY::Middle));
        }
        if (core::HeadRef{l, h} == input.selection.ref()) figure.addOverlay(RectItem{box, kTransparent, t.accent, 2});
      }
    }
  }

  static void addCurve(Figure& figure, const Rect& plot, const SparseData& data, const ViewInput& input, const Theme& t) {
    if (plot.width < 40 || plot.height < 40) return;
    const core::HeadRef selected{std::clamp<int64_t>(input.selection.layer, 0, data.layers - 1),
                                 std::clamp<int64_t>(input.selection.head, 0, data.heads - 1)};
    const SparseData::Head& head = data.at(selected);
    figure.add(textAt({plot.x, plot.y - t.gap}, "head " + headName(selected) + ": keys needed", t.small(), t.inkSecond, AnchorX::Left,
                      AnchorY::Bottom));
    LineChart chart(figure, plot, {0, static_cast<double>(shares().size() - 1), false, ""},
                    {1, std::max(2.0, static_cast<double>(data.count)), true, "keys"}, t);
    // Shares are unevenly spaced: named by hand below the plot, at equal distances
    figure.add(RectItem{plot, kTransparent, t.line, 0});
    for (size_t i = 0; i < shares().size(); ++i) {
      const Point at = chart.at(static_cast<double>(i), 1);
      figure.add(textAt({at.x, plot.bottom() + t.gap / 2}, shortNumber(100 * shares()[i]) + " %", t.small(), t.inkSecond, AnchorX::Center,
                        AnchorY::Top));
    }
    for (const double tick : decadeTicks(1, std::max(2.0, static_cast<double>(data.count)), 5)) {
      figure.add(
          textAt({plot.x - t.gap / 2, chart.at(0, tick).y}, shortNumber(tick), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
    }
    std::vector<double> taken;
    const auto line = [&](const std::vector<core::AccessSummary>& summaries, double (*value)(const core::AccessSummary&), Color color,
                          double width, const std::string& label) {
      std::vector<Point> points;
      for (size_t i = 0; i < summaries.size(); ++i) points.push_back({static_cast<double>(i), std::max(1.0, value(summaries[i]))});
      chart.addLine(points, color, width, {Pick::Kind::Value, -1, -1, -1, label});
      double y = chart.at(points.back().x, points.back().y).y;
      while (std::any_of(taken.begin(), taken.end(), [&](double other) { return std::abs(other - y) < t.smallSize * 1.2; }))
        y += t.smallSize * 0.4;
      taken.push_back(y);
      figure.add(textAt({plot.right() + t.gap / 2, y}, label, t.small(), color, AnchorX::Left, AnchorY::Middle));
    };
    line(
        head.plain, [](const core::AccessSummary& s) { return s.mean; }, t.accent, 2, "mean");
    line(
        head.plain, [](const core::AccessSummary& s) { return static_cast<double>(s.worst); }, t.inkSecond, 1, "worst row");
    line(
        head.plain, [](const core::AccessSummary& s) { return static_cast<double>(s.best); }, t.inkSecond, 1, "best row");
    line(
        head.weighted, [](const core::AccessSummary& s) { return s.mean; }, t.value, 1.5, "weighted");
  }
};

}  // namespace

const View& sparseView() {
  static const SparseView view;
  return view;
}

}  // namespace headscope::views
