// Sparse V: how many values each head really reads. Keys: share of the visible keys that reach a share of the mass, as a layers x
// heads map (pooled over a layer at its right), and the selected head's curves with best, mean and worst row. Clusters: see
// key_clusters.h. options.words: form (keys, clusters), kind (plain, weighted, without_first), texts (a file with a prompt a
// line, in place of the prompt); options.numbers: share (default 0.9), weighted (1: as kind weighted).
#include <algorithm>
#include <cmath>

#include "core/attention/forward.h"
#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/mechanisms/access_map.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/head_heat.h"
#include "views/key_clusters.h"
#include "views/line_chart.h"
#include "views/mechanism_words.h"
#include "views/option_values.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

enum Control : int64_t { kForm = 1, kKind = 2, kShare = 3, kClusters = 4, kVisit = 5 };

const std::vector<double>& shares() {
  static const auto* all = new std::vector<double>{0.8, 0.9, 0.95, 0.99, 0.999};
  return *all;
}

struct SparseData : ViewData {
  core::AccessMap access{shares()};
  std::unique_ptr<KeyClusters> clusters;
  std::string modelName, texts, refusal;
};

size_t shareIndex(const core::ViewOptions& options) {
  const double asked = numberIn(options, "share", 0.9);
  size_t best = 0;
  for (size_t i = 0; i < shares().size(); ++i) {
    if (std::abs(shares()[i] - asked) < std::abs(shares()[best] - asked)) best = i;
  }
  return best;
}

bool isOfClusters(const core::ViewOptions& options) { return wordIn(options, "form", "keys") == "clusters"; }
std::string kindOf(const core::ViewOptions& options) {
  return wordIn(options, "kind", numberIn(options, "weighted", 0) > 0 ? "weighted" : "plain");
}

struct Kind {
  const char *word, *title, *tip;
  std::vector<core::AccessSummary> core::AccessMap::Head::*list;
};
const std::vector<Kind>& kinds() {
  using Head = core::AccessMap::Head;
  static const auto* all =
      new std::vector<Kind>{{"plain", "weights", "Keys by their weight", &Head::plain},
                            {"weighted", "weights x values", "Keys by weight times the size of what the value writes", &Head::weighted},
                            {"without_first", "first token apart", "Of the mass that is not on the first key", &Head::withoutSink}};
  return *all;
}
const Kind& kindIn(const core::ViewOptions& options) {
  const std::string word = kindOf(options);
  for (const Kind& kind : kinds()) {
    if (word == kind.word) return kind;
  }
  return kinds()[0];
}

class SparseView : public View {
 public:
  std::string_view name() const override { return "sparse_v"; }
  std::string_view title() const override { return "Sparse V"; }
  std::string subject(const ViewInput& input) const override {
    if (isOfClusters(input.options)) return "clusters of keys, " + headName(input.selection);
    return shortNumber(100 * shares()[shareIndex(input.options)]) + " % of the mass, " + kindIn(input.options).title;
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    const std::string start = "sparse_v:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get()));
    return isOfClusters(input.options) ? start + ":clusters:" + keyClustersKey(input) : start + ":" + wordIn(input.options, "texts", "");
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<SparseData>();
    data->modelName = input.trace->model().name();
    data->texts = wordIn(input.options, "texts", "");
    try {
      if (isOfClusters(input.options)) {
        data->clusters = std::make_unique<KeyClusters>(keyClusters(input, job));
      } else if (data->texts.empty()) {
        data->access.add(input.trace, job);
      } else {
        for (const auto& prompt : core::promptsOfFile(input.trace->model(), data->texts, core::kMostFilePrompts, job))
          data->access.add(core::runForward(input.trace->sharedModel(), prompt, input.trace->sharedBackend(), {}, job), job);
      }
    } catch (const core::Error& e) {
      data->refusal = e.what();
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.trace)
      return emptyFigure(frame.size, "How many values each head really reads", "Open a model and run a prompt", frame.theme);
    const auto* sparse = dynamic_cast<const SparseData*>(data);
    if (sparse == nullptr) return emptyFigure(frame.size, "Keys needed by every head", "Computing", frame.theme);
    if (!sparse->refusal.empty()) return emptyFigure(frame.size, sparse->refusal, "Choose another text", frame.theme);
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    const bool isNarrow = frame.size.width < t.smallSize * 60;
    const double height = frame.size.height > 0 ? frame.size.height : frame.size.width * (isNarrow ? 1.25 : 0.5);
    figure.size = {frame.size.width, height};
    const double top = frame.isPaper ? t.gap : t.smallSize * 2.8;
    const bool hasClusters = sparse->clusters != nullptr;
    addWords(figure, input, hasClusters, sparse->clusters.get(), frame);
    if (hasClusters) {
      figure.title = "Clusters of keys, head " + headName(input.selection);
      figure.caption = addKeyClusters(figure, {2 * t.gap, top, frame.size.width - 4 * t.gap, height - top}, *sparse->clusters, frame);
      return figure;
    }
    figure.title = "Keys needed, " + subject(input);
    drawKeys(figure, {t.gap, top, frame.size.width - 2 * t.gap, height - top}, isNarrow, *sparse, input, frame);
    return figure;
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    if (!input.trace)
      return {{"layer", "head", "share", "kind", "mean_keys", "best_keys", "worst_keys", "mean_fraction", "first_key_mass"}, {}};
    const auto data = std::static_pointer_cast<const SparseData>(compute(input, {}, job));
    if (data->clusters) return clusterTable(*data->clusters);
    Table table{{"layer", "head", "share", "kind", "mean_keys", "best_keys", "worst_keys", "mean_fraction", "first_key_mass",
                 "least_prompt", "most_prompt", "prompts"},
                {}};
    const core::AccessMap& access = data->access;
    const auto addHead = [&](int64_t layer, const std::string& name, const core::AccessMap::Head& head) {
      for (size_t p = 0; p < shares().size(); ++p) {
        for (const Kind& kind : kinds()) {
          const core::AccessSummary& s = (head.*kind.list)[p];
          const bool isPlain = kind.list == &core::AccessMap::Head::plain;
          table.rows.push_back({std::to_string(layer), name, shortNumber(shares()[p]), kind.word, shortNumber(s.mean, 7),
                                std::to_string(s.best), std::to_string(s.worst), shortNumber(s.meanFraction, 7), shortNumber(head.sink, 7),
                                isPlain ? shortNumber(head.leastPrompt[p], 7) : "", isPlain ? shortNumber(head.mostPrompt[p], 7) : "",
                                std::to_string(access.prompts)});
        }
      }
    };
    for (int64_t l = 0; l < access.layers; ++l) {
      for (int64_t h = 0; h < access.heads; ++h) addHead(l, std::to_string(h), access.at({l, h}));
      addHead(l, "all", access.layer[static_cast<size_t>(l)]);
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    const bool isPress = gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Control;
    if (isPress && gesture.pick.a == kForm) {
      options.words["form"] = gesture.pick.b == 1 ? "clusters" : "keys";
      return true;
    }
    if (isPress && gesture.pick.a == kKind) {
      options.words["kind"] = kinds()[static_cast<size_t>(std::clamp<int64_t>(gesture.pick.b, 0, 2))].word;
      return true;
    }
    for (const auto& [slider, key] : {std::pair{clustersSlider(), "clusters"}, std::pair{visitSlider(input), "visit"}}) {
      if (!isOn(slider, gesture)) continue;
      options.numbers[key] = valueOf(slider, gesture);
      return true;
    }
    if (isPress && gesture.pick.a == kShare) {
      options.numbers["share"] = shares()[static_cast<size_t>(std::clamp<int64_t>(gesture.pick.b, 0, 4))];
      return true;
    }
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      selection.brushed.clear();
      return true;
    }
    if (gesture.kind != Gesture::Kind::Wheel || isOfClusters(options)) return false;
    const size_t now = shareIndex(options), last = shares().size() - 1;
    options.numbers["share"] = shares()[gesture.delta.y > 0 ? std::min(now + 1, last) : now - std::min<size_t>(now, 1)];
    return true;
  }

 private:
  static FigureSlider clustersSlider() { return {kClusters, 2, 128, true, true}; }
  static FigureSlider visitSlider(const ViewInput& input) {
    return {kVisit, 1, std::clamp(std::round(numberIn(input.options, "clusters", 16)), 2.0, 128.0), false, true};
  }

  static void addWords(Figure& figure, const ViewInput& input, bool hasClusters, const KeyClusters* clusters, const ViewFrame& frame) {
    if (frame.isPaper) return;
    const Theme& t = frame.theme;
    Point at{2 * t.gap, t.smallSize * 1.2};
    at.x = addWordButton(figure, kForm, 0, at, "keys needed", !hasClusters, "How many keys reach a share of each row's mass", frame) +
           2 * t.gap;
    at.x = addWordButton(figure, kForm, 1, at, "clusters", hasClusters, "Keys of the selected head in clusters, and what the query visits",
                         frame) +
           3 * t.gap;
    if (hasClusters) {
      at.x = addSlider(figure, clustersSlider(), at, static_cast<double>(clusters->clusters), "clusters",
                       std::to_string(clusters->clusters), "Centres of k-means", frame) +
             2 * t.gap;
      addSlider(figure, visitSlider(input), at, static_cast<double>(clusters->visit), "visited", std::to_string(clusters->visit),
                "Clusters that a query visits", frame);
      return;
    }
    const size_t share = shareIndex(input.options);
    for (size_t i = 0; i < shares().size(); ++i)
      at.x = addWordButton(figure, kShare, static_cast<int64_t>(i), at, shortNumber(100 * shares()[i]) + " %", i == share,
                           "Share of each row's mass to reach", frame) +
             t.gap;
    at.x += 2 * t.gap;
    const Kind& now = kindIn(input.options);
    for (size_t i = 0; i < kinds().size(); ++i) {
      const double width = frame.measure.width(kinds()[i].title, t.small());
      if (at.x + width > frame.size.width - t.gap) break;
      at.x =
          addWordButton(figure, kKind, static_cast<int64_t>(i), at, kinds()[i].title, kinds()[i].word == now.word, kinds()[i].tip, frame) +
          t.gap * 1.5;
    }
  }

  static Table clusterTable(const KeyClusters& data) {
    Table table{{"layer", "head", "visit", "share_read", "recall", "exact_topk", "random"}, {}};
    for (const core::RecallPoint& p : data.curve) {
      table.rows.push_back({std::to_string(data.head.layer), std::to_string(data.head.head), std::to_string(p.visit),
                            shortNumber(p.shareRead, 7), shortNumber(p.recall, 7), shortNumber(p.exact, 7), shortNumber(p.random, 7)});
    }
    return table;
  }

  static void drawKeys(Figure& figure, const Rect& area, bool isNarrow, const SparseData& data, const ViewInput& input,
                       const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const core::AccessMap& access = data.access;
    const double line = t.smallSize * 1.6;
    const Rect heatArea = isNarrow ? Rect{area.x, area.y + line, area.width, area.height * 0.42 - line}
                                   : Rect{area.x, area.y + line, area.width * 0.52, area.height - line - t.gap};
    addHeads(figure, heatArea, access, input, frame);
    const double left = isNarrow ? area.x + t.smallSize * 3 : heatArea.right() + t.smallSize * 5, labels = t.smallSize * 8;
    const double chartTop = isNarrow ? area.y + area.height * 0.46 + line : area.y + line;
    addCurves(figure, {left, chartTop, area.right() - left - labels, area.y + area.height - chartTop - t.smallSize * 2.6}, access, input,
              t);
    const core::HeadRef head = selectedOf(access, input);
    figure.caption = "Fewest keys whose weights reach a share of each row's mass, " + data.modelName + ", " +
                     (data.texts.empty() ? "" : std::to_string(access.prompts) + " prompts of " + data.texts + ", ") +
                     std::to_string(access.tokens) + " tokens, every row counted. Map: mean share of the visible keys for " +
                     shortNumber(100 * shares()[shareIndex(input.options)]) + " %, " + kindIn(input.options).title +
                     ", all heads of a layer pooled at the right; curves: head " + core::headName(head) + ", whose first key holds " +
                     shortNumber(100 * access.at(head).sink, 2) + " % of the mass.";
  }

  static core::HeadRef selectedOf(const core::AccessMap& access, const ViewInput& input) {
    return {std::clamp<int64_t>(input.selection.layer, 0, access.layers - 1),
            std::clamp<int64_t>(input.selection.head, 0, access.heads - 1)};
  }

  static std::string tipOf(const std::string& name, const core::AccessMap::Head& head, const core::AccessSummary& s) {
    return name + "\n" + shortNumber(100 * s.meanFraction) + " % of the visible keys, " + shortNumber(s.mean) + " keys\nbest row " +
           std::to_string(s.best) + ", worst row " + std::to_string(s.worst) + "\nfirst key " + shortNumber(100 * head.sink) +
           " % of the mass";
  }

  static void addHeads(Figure& figure, const Rect& area, const core::AccessMap& access, const ViewInput& input, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const ColorRamp ramp = scalarRamp(t);
    const size_t p = shareIndex(input.options);
    const auto list = kindIn(input.options).list;
    TextItem title = textAt({area.x, area.y - t.gap / 2}, "% of visible keys for " + shortNumber(100 * shares()[p]) + " % of the mass",
                            t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom);
    title.maxWidth = area.width;
    figure.add(std::move(title));
    // One more column than heads, and a gap before it, for the whole layer
    const HeadHeat heat = layOutHeat(
        access.layers, access.heads,
        {area.x, area.y, area.width * static_cast<double>(access.heads) / (static_cast<double>(access.heads) + 1.5), area.height}, 56,
        frame);
    core::Matrix values(access.layers, access.heads);
    for (int64_t l = 0; l < access.layers; ++l) {
      for (int64_t h = 0; h < access.heads; ++h) values(l, h) = static_cast<float>((access.at({l, h}).*list)[p].meanFraction);
    }
    const ValueScale scale{core::ColorScale::Linear, 0, 1};
    addHeat(figure, heat, values, scale, ramp, input.selection, frame,
            [&](core::HeadRef h) { return tipOf("Head " + core::headName(h), access.at(h), (access.at(h).*list)[p]); });
    const double apart = heat.width * 0.4;
    figure.add(textAt({heat.cells().right() + apart + heat.width / 2, heat.top - t.gap / 4}, "all", t.small(), t.inkSecond, AnchorX::Center,
                      AnchorY::Bottom));
    for (int64_t l = 0; l < access.layers; ++l) {
      const core::AccessMap::Head& pool = access.layer[static_cast<size_t>(l)];
      Rect cell = heat.at(l, access.heads - 1);
      cell.x += heat.width + apart;
      figure.add(RectItem{cell, ramp.at((pool.*list)[p].meanFraction), kTransparent, 0}).pick = {
          Pick::Kind::Value, -1, -1, -1, tipOf("All heads of layer " + std::to_string(l), pool, (pool.*list)[p])};
      for (int64_t h = 0; h <= access.heads && heat.width > t.smallSize * 2.1 && heat.height > t.smallSize * 1.3; ++h) {
        const Rect box = h < access.heads ? heat.at(l, h) : cell;
        const double value = h < access.heads ? static_cast<double>(values(l, h)) : (pool.*list)[p].meanFraction;
        figure.add(
            textAt(box.center(), shortNumber(100 * value, 2), t.small(), inkOn(ramp.at(value), t), AnchorX::Center, AnchorY::Middle));
      }
    }
  }

  static void addCurves(Figure& figure, const Rect& plot, const core::AccessMap& access, const ViewInput& input, const Theme& t) {
    if (plot.width < 40 || plot.height < 40) return;
    const core::HeadRef selected = selectedOf(access, input);
    const core::AccessMap::Head& head = access.at(selected);
    const core::AccessMap::Head& pool = access.layer[static_cast<size_t>(selected.layer)];
    figure.add(textAt({plot.x, plot.y - t.gap / 2}, "head " + core::headName(selected) + ": keys needed", t.small(), t.inkSecond,
                      AnchorX::Left, AnchorY::Bottom));
    const double most = std::max(10.0, static_cast<double>(access.longest));
    LineChart chart(figure, plot, {0, static_cast<double>(shares().size() - 1), false, ""}, {0.8, most, true, "keys"}, t);
    // Shares are unevenly spaced: named by hand below the plot, at equal distances
    figure.add(RectItem{plot, kTransparent, t.line, 0});
    const bool isTight = plot.width / 5 < t.smallSize * 3.6;
    for (size_t i = 0; i < shares().size(); ++i) {
      if (isTight && i % 2 == 1) continue;
      figure.add(textAt({chart.at(static_cast<double>(i), 1).x, plot.bottom() + t.gap / 2}, shortNumber(100 * shares()[i]) + " %",
                        t.small(), t.inkSecond, AnchorX::Center, AnchorY::Top));
    }
    for (const double tick : decadeTicks(1, most, 5))
      figure.add(
          textAt({plot.x - t.gap / 2, chart.at(0, tick).y}, shortNumber(tick), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Middle));
    std::vector<LineLabel> labels;
    const auto line = [&](const auto& valueAt, Color color, double width, const std::string& label) {
      std::vector<Point> points;
      for (size_t i = 0; i < shares().size(); ++i) points.push_back({static_cast<double>(i), std::max(1.0, valueAt(i))});
      chart.addLine(points, color, width, {Pick::Kind::Value, -1, -1, -1, label});
      labels.push_back({points.back().y, label, color});
    };
    line([&](size_t i) { return static_cast<double>(head.plain[i].worst); }, t.inkSecond, 1, "worst row");
    line([&](size_t i) { return static_cast<double>(head.plain[i].best); }, t.inkSecond, 1, "best row");
    line([&](size_t i) { return pool.plain[i].mean; }, t.categories[3], 1.2, "layer " + std::to_string(selected.layer));
    line([&](size_t i) { return head.withoutSink[i].mean; }, t.specialInk, 1.2, "without first");
    line([&](size_t i) { return head.weighted[i].mean; }, t.value, 1.5, "with values");
    if (access.prompts > 1) {
      line([&](size_t i) { return head.leastPrompt[i]; }, t.categories[1], 1, "best prompt");
      line([&](size_t i) { return head.mostPrompt[i]; }, t.categories[1], 1, "worst prompt");
    }
    line([&](size_t i) { return head.plain[i].mean; }, t.accent, 2, "mean");
    chart.addEndLabels(labels);
  }
};

}  // namespace

const View& sparseView() {
  static const SparseView view;
  return view;
}

}  // namespace headscope::views
