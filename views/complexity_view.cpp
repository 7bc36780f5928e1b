// Complexity: measured time and held bytes against N on log axes with O() lines: mechanisms on one head, or whole layers of a
// BERT's shape; and the table of the linear-attention source. options.words: form (head, layer, table), mechanisms
// (";"-separated); options.numbers: width (default 64), largest (default 4096), bytes (1: bytes).
#include <algorithm>
#include <cmath>
#include <span>

#include "core/base/error.h"
#include "core/mechanisms/complexity.h"
#include "core/mechanisms/layer_cost.h"
#include "core/mechanisms/registry.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/line_chart.h"
#include "views/mechanism_words.h"
#include "views/option_values.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

enum Control : int64_t { kForm = 1, kBytes = 2 };

struct ComplexityData : ViewData {
  std::vector<core::ComplexityPoint> points;  // by mechanism, then size
  std::vector<int64_t> sizes;
  int64_t width = 64;
  std::string refusal, form = "head";
  std::span<const core::ComplexityPoint> of(size_t mechanism) const { return {points.data() + mechanism * sizes.size(), sizes.size()}; }
  size_t mechanisms() const { return sizes.empty() ? 0 : points.size() / sizes.size(); }
};

std::string listOf(const core::ViewOptions& options) {
  const auto found = options.words.find("mechanisms");
  return found == options.words.end() || found->second.empty() ? core::kComplexityMechanisms : found->second;
}

std::string formOf(const core::ViewOptions& options) { return wordIn(options, "form", "head"); }

/// What is read at a line's end; the full spelling stays in the tip.
std::string shortTitle(const std::string& spelled) {
  const std::string name = spelled.substr(0, spelled.find(':'));
  if (name == "softmax_layer") return "softmax";
  if (name.rfind("dense_attention", 0) != 0) return name;
  return spelled.find("order=linear") != std::string::npos ? "Dense linear" : "Dense quadratic";
}

/// N^2 -> N\u00B2, as it is written.
std::string written(std::string order) {
  const size_t at = order.find("^2");
  if (at != std::string::npos) order.replace(at, 2, "\u00B2");
  return order;
}

class ComplexityView : public View {
 public:
  std::string_view name() const override { return "complexity"; }
  std::string_view title() const override { return "Complexity"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    const std::string form = formOf(input.options);
    if (form == "table") return "N = 1,024, width 32";
    return std::string(form == "layer" ? "a BERT layer, " : "") + (isBytes(input.options) ? "bytes held" : "time");
  }
  std::string dataKey(const ViewInput& input, Size) const override {
    if (formOf(input.options) == "table") return "complexity:table";
    return "complexity:" + formOf(input.options) + ":" + listOf(input.options) + ":" + shortNumber(widthOf(input.options)) + ":" +
           shortNumber(largestOf(input.options), 9);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<ComplexityData>();
    core::ComplexityOptions options;
    options.width = static_cast<int64_t>(widthOf(input.options));
    options.sizes.clear();
    const std::string form = formOf(input.options);
    for (int64_t n = 256; n <= static_cast<int64_t>(largestOf(input.options)); n *= 2) options.sizes.push_back(n);
    data->sizes = options.sizes;
    data->width = options.width;
    try {
      if (form == "table") {
        data->sizes = {core::kTableSize};
        data->width = core::kTableWidth;
        data->points = core::measureTable(job);
      } else if (form == "layer") {
        const core::LayerShape shape;
        data->width = shape.width;
        data->points = core::measureLayers(shape, options.sizes, job);
      } else {
        data->points = core::measureComplexity(core::parseMechanisms(listOf(input.options)), options, job);
      }
      data->form = form;
    } catch (const core::Error& e) {
      data->refusal = e.what();
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    const auto* complexity = dynamic_cast<const ComplexityData*>(data);
    if (complexity == nullptr)
      return emptyFigure(frame.size, "Time and memory of mechanisms against the number of tokens", "Measuring", frame.theme);
    if (complexity->points.empty()) return emptyFigure(frame.size, complexity->refusal, "Choose other mechanisms", frame.theme);
    if (complexity->form == "table") return drawTable(*complexity, input.options, frame);
    return drawChart(*complexity, input.options, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"mechanism", "n", "width", "seconds", "processor_seconds", "operations", "bytes_moved", "bytes_held"}, {}};
    const auto data = std::static_pointer_cast<const ComplexityData>(compute(input, {}, job));
    for (const core::ComplexityPoint& p : data->points) {
      if (!p.refusal.empty()) continue;
      table.rows.push_back({p.mechanism, std::to_string(p.size), std::to_string(data->width), shortNumber(p.seconds, 7),
                            shortNumber(p.processorSeconds, 7), shortNumber(p.cost.operations, 12), shortNumber(p.cost.bytesMoved, 12),
                            shortNumber(p.cost.bytesHeld, 12)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput&, Size, core::ViewOptions& options, core::Selection&) const override {
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Control) {
      if (gesture.pick.a == kBytes) options.numbers["bytes"] = isBytes(options) ? 0 : 1;
      if (gesture.pick.a == kForm) options.words["form"] = kForms[static_cast<size_t>(std::clamp<int64_t>(gesture.pick.b, 0, 2))].word;
      return gesture.pick.a == kBytes || gesture.pick.a == kForm;
    }
    if (gesture.kind != Gesture::Kind::DoubleClick) return false;
    options.numbers["bytes"] = isBytes(options) ? 0 : 1;
    return true;
  }

 private:
  struct Form {
    const char *word, *title, *tip;
  };
  static constexpr Form kForms[] = {{"head", "one head", "Mechanisms on one head of width 64"},
                                    {"layer", "BERT layer", "A softmax layer of a BERT's shape against DenseAttention's two orders"},
                                    {"table", "table", "The table of the linear-attention source, measured"}};

  static bool isBytes(const core::ViewOptions& options) { return numberIn(options, "bytes", 0) > 0; }
  static double widthOf(const core::ViewOptions& options) { return std::clamp(numberIn(options, "width", 64), 1.0, 1024.0); }
  static double largestOf(const core::ViewOptions& options) { return std::clamp(numberIn(options, "largest", 4096), 512.0, 65536.0); }

  static void addWords(Figure& figure, const core::ViewOptions& options, const std::string& form, const ViewFrame& frame) {
    if (frame.isPaper) return;
    const Theme& t = frame.theme;
    Point at{2 * t.gap, t.smallSize * 1.4};
    for (int64_t i = 0; i < 3; ++i) {
      at.x = addWordButton(figure, kForm, i, at, kForms[i].title, form == kForms[i].word, kForms[i].tip, frame) + 2 * t.gap;
    }
    if (form != "table")
      addWordButton(figure, kBytes, 0, {at.x + t.gap, at.y}, "bytes", isBytes(options), "Bytes held in place of time", frame);
  }

  static Figure drawChart(const ComplexityData& data, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const bool ofBytes = isBytes(options);
    Figure figure;
    figure.background = t.canvas;
    figure.title = ofBytes ? "Bytes held against N" : "Processor time against N";
    const double height = frame.size.height > 0 ? frame.size.height : frame.size.width * 0.62;
    figure.size = {frame.size.width, height};
    addWords(figure, options, data.form, frame);
    const auto value = [&](const core::ComplexityPoint& p) { return ofBytes ? p.cost.bytesHeld : p.processorSeconds; };
    double low = 1e300, high = 0;
    for (const core::ComplexityPoint& p : data.points) {
      if (!p.refusal.empty() || value(p) <= 0) continue;
      low = std::min(low, value(p));
      high = std::max(high, value(p));
    }
    if (high <= 0) return emptyFigure(frame.size, "Nothing could be measured", "Choose other mechanisms", t);
    const double first = static_cast<double>(data.sizes.front()), last = static_cast<double>(data.sizes.back());
    std::vector<LineLabel> labels;
    double widest = 0;
    for (size_t m = 0; m < data.mechanisms(); ++m) {
      const auto mine = data.of(m);
      const auto end = std::find_if(mine.rbegin(), mine.rend(), [&](const auto& p) { return p.refusal.empty() && value(p) > 0; });
      if (end == mine.rend()) continue;
      labels.push_back({value(*end), shortTitle(mine[0].mechanism) + "  N^" + shortNumber(core::growth(mine, ofBytes), 2),
                        t.categories[m % t.categories.size()]});
    }
    labels.push_back({low * last / first, "O(N)", t.inkSecond});
    for (const LineLabel& label : labels) widest = std::max(widest, frame.measure.width(label.text, t.small()));
    const double top = t.smallSize * 4;
    const Rect plot{t.smallSize * 5, top, frame.size.width - t.smallSize * 6.5 - widest, height - top - t.smallSize * 4.5};
    if (plot.width < 20 || plot.height < 20) return emptyFigure(frame.size, "Too small for a chart", "Make the pane larger", t);
    LineChart chart(figure, plot, {first * 0.9, last, true, "tokens N"},
                    logAxis(low / 1.6, high * 1.6, ofBytes ? "bytes held" : "processor seconds"), t);
    addSizeTicks(figure, chart, data, frame);
    for (const int slope : {1, 2}) {  // through the lower left corner
      const std::vector<Point> guide{{first, low}, {last, low * std::pow(last / first, slope)}};
      chart.addLine(guide, t.inkSecond.withAlpha(0.5), 1, {Pick::Kind::Value, -1, -1, -1, slope == 1 ? "O(N)" : "O(N\u00B2)"});
    }
    const double leaves = first * std::sqrt(high * 1.6 / low);  // where N^2 leaves at the top
    if (leaves < last) {
      figure.add(textAt({chart.at(leaves, low).x, plot.y - 2}, "O(N\u00B2)", t.small(), t.inkSecond, AnchorX::Center, AnchorY::Bottom));
    } else {
      labels.push_back({low * std::pow(last / first, 2), "O(N\u00B2)", t.inkSecond});
    }
    for (size_t m = 0; m < data.mechanisms(); ++m) {
      const auto mine = data.of(m);
      std::vector<Point> points;
      for (const core::ComplexityPoint& p : mine) {
        if (p.refusal.empty()) points.push_back({static_cast<double>(p.size), value(p)});
      }
      const std::string order = core::timeOrder(mine[0].mechanism);
      chart.addLine(points, t.categories[m % t.categories.size()], 1.8,
                    {Pick::Kind::Value, static_cast<int64_t>(m), -1, -1,
                     mine[0].mechanism + (order.empty() ? "" : "\ntime O(" + written(order) + ")") + "\nmeasured: grows as N^" +
                         shortNumber(core::growth(mine, ofBytes))});
    }
    chart.addEndLabels(labels);
    const std::string what = data.form == "layer" ? "one attention layer, projections included, width " + std::to_string(data.width) +
                                                        " and 12 heads, every token sees every other,"
                                                  : "one head of width " + std::to_string(data.width);
    figure.caption =
        std::string(ofBytes ? "Bytes held by " : "Measured processor time of all threads, the least of several runs, of ") + what +
        " against the number of tokens; grey: O(N) and O(N\u00B2). DenseAttention has no softmax and other weights: a what-if, not "
        "the same function.";
    return figure;
  }

  /// Powers of two are what was measured: every other one is named.
  static void addSizeTicks(Figure& figure, LineChart& chart, const ComplexityData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    chart.addAxes(false);
    const Rect& plot = chart.plot();
    const double room = plot.width / static_cast<double>(data.sizes.size());
    const size_t step = room < t.smallSize * 3.2 ? 2 : 1;
    for (size_t i = data.sizes.size(); i-- > 0;) {
      const double x = chart.at(static_cast<double>(data.sizes[i]), 1).x;
      figure.add(segment({x, plot.bottom()}, {x, plot.bottom() + t.gap / 2}, t.inkSecond));
      if ((data.sizes.size() - 1 - i) % step == 0)
        figure.add(textAt({x, plot.bottom() + t.gap * 0.75}, std::to_string(data.sizes[i]), t.small(), t.inkSecond, AnchorX::Center,
                          AnchorY::Top));
    }
    figure.add(textAt({plot.right(), plot.bottom() + t.gap * 1.25 + t.smallSize * 1.3}, "tokens N", t.small(), t.inkSecond, AnchorX::Right,
                      AnchorY::Top));
  }

  static Figure drawTable(const ComplexityData& data, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Mechanisms at N = 1,024, width 32";
    addWords(figure, options, "table", frame);
    const double line = t.smallSize * 1.8, top = frame.isPaper ? t.gap : t.smallSize * 3.5,
                 width = std::min(frame.size.width, t.smallSize * 90);
    const char* const titles[] = {"time", "ops", "held", "ms", "share", "error"};
    const double names = width * 0.26, step = (width - names - 2 * t.gap) / 6;
    for (int c = 0; c < 6; ++c)
      figure.add(textAt({t.gap + names + step * (c + 1), top}, titles[c], t.small(), t.inkSecond, AnchorX::Right, AnchorY::Top));
    double y = top;
    for (const core::ComplexityPoint& p : data.points) {
      y += line;
      TextItem label = textAt({t.gap, y}, shortTitle(p.mechanism) == "causal" ? "softmax" : shortTitle(p.mechanism), t.small(), t.ink,
                              AnchorX::Left, AnchorY::Top);
      label.maxWidth = names - t.gap / 2;
      figure.add(std::move(label));
      figure.content.push_back(
          pickArea({t.gap, y - 1, width - 2 * t.gap, line}, {Pick::Kind::Value, -1, -1, -1, p.mechanism + "\n" + p.cost.formula}));
      const std::string cells[] = {"O(" + written(core::timeOrder(p.mechanism)) + ")",
                                   bigNumber(p.cost.operations),
                                   byteSize(p.cost.bytesHeld),
                                   shortNumber(1000 * p.processorSeconds, 2),
                                   shortNumber(p.processorSeconds / data.points[0].processorSeconds, 2),
                                   shortNumber(std::abs(p.error) < 1e-5 ? 0.0 : p.error, 2)};
      for (int c = 0; c < 6; ++c)
        figure.add(textAt({t.gap + names + step * (c + 1), y}, cells[c], t.small(), t.ink, AnchorX::Right, AnchorY::Top));
    }
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : y + line + t.gap};
    figure.caption =
        "One causal head, 1,024 tokens, width 32, random queries, keys and values: order of the time, counted operations, bytes "
        "that one thread holds, measured processor time (the least of several runs), its share of softmax's, and the output's error "
        "against softmax. w window, m "
        "features or landmarks, p rank. Linformer and Nystrom see later tokens; DenseAttention is a what-if without softmax.";
    return figure;
  }
};

}  // namespace

const View& complexityView() {
  static const ComplexityView view;
  return view;
}

}  // namespace headscope::views
