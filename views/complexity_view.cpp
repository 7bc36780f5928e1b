// Complexity: measured time and held bytes of mechanisms against N on log axes, with slopes 1 and 2 beside.
// options.words: mechanisms (";"-separated); options.numbers: width (default 64), largest (default 4096), bytes (1: bytes).
#include <algorithm>
#include <cmath>
#include <span>

#include "core/base/error.h"
#include "core/mechanisms/complexity.h"
#include "core/mechanisms/registry.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/line_chart.h"
#include "views/mechanism_words.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

struct ComplexityData : ViewData {
  std::vector<core::ComplexityPoint> points;  // by mechanism, then size
  std::vector<int64_t> sizes;
  int64_t width = 64;
  std::string refusal;
  std::span<const core::ComplexityPoint> of(size_t mechanism) const { return {points.data() + mechanism * sizes.size(), sizes.size()}; }
  size_t mechanisms() const { return sizes.empty() ? 0 : points.size() / sizes.size(); }
};

std::string listOf(const core::ViewOptions& options) {
  const auto found = options.words.find("mechanisms");
  return found == options.words.end() || found->second.empty() ? core::kComplexityMechanisms : found->second;
}

/// "dense_attention, linear order" is what is read; the full spelling stays in the tip.
std::string shortTitle(const std::string& spelled) {
  const std::string name = spelled.substr(0, spelled.find(':'));
  if (name != "dense_attention") return name;
  return spelled.find("order=linear") != std::string::npos      ? "DenseAttention, linear"
         : spelled.find("order=quadratic") != std::string::npos ? "DenseAttention, quadratic"
                                                                : name;
}

class ComplexityView : public View {
 public:
  std::string_view name() const override { return "complexity"; }
  std::string_view title() const override { return "Complexity"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override { return isBytes(input.options) ? "bytes held" : "time"; }
  std::string dataKey(const ViewInput& input, Size) const override {
    return "complexity:" + listOf(input.options) + ":" + shortNumber(widthOf(input.options)) + ":" +
           shortNumber(largestOf(input.options), 9);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<ComplexityData>();
    core::ComplexityOptions options;
    options.width = static_cast<int64_t>(widthOf(input.options));
    options.sizes.clear();
    for (int64_t n = 256; n <= static_cast<int64_t>(largestOf(input.options)); n *= 2) options.sizes.push_back(n);
    data->sizes = options.sizes;
    data->width = options.width;
    try {
      data->points = core::measureComplexity(core::parseMechanisms(listOf(input.options)), options, job);
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
    return drawComplexity(*complexity, isBytes(input.options), frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"mechanism", "n", "width", "seconds", "operations", "bytes_moved", "bytes_held"}, {}};
    const auto data = std::static_pointer_cast<const ComplexityData>(compute(input, {}, job));
    for (const core::ComplexityPoint& p : data->points) {
      if (!p.refusal.empty()) continue;
      table.rows.push_back({p.mechanism, std::to_string(p.size), std::to_string(data->width), shortNumber(p.seconds, 7),
                            shortNumber(p.cost.operations, 12), shortNumber(p.cost.bytesMoved, 12), shortNumber(p.cost.bytesHeld, 12)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput&, Size, core::ViewOptions& options, core::Selection&) const override {
    if (gesture.kind != Gesture::Kind::DoubleClick) return false;
    options.numbers["bytes"] = isBytes(options) ? 0 : 1;
    return true;
  }

 private:
  static bool isBytes(const core::ViewOptions& options) { return numberOf(options, "bytes", 0) > 0; }
  static double widthOf(const core::ViewOptions& options) { return std::clamp(numberOf(options, "width", 64), 1.0, 1024.0); }
  static double largestOf(const core::ViewOptions& options) { return std::clamp(numberOf(options, "largest", 4096), 512.0, 65536.0); }

  static Figure drawComplexity(const ComplexityData& data, bool isBytes, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = isBytes ? "Bytes held against N" : "Time against N";
    const double height = frame.size.height > 0 ? frame.size.height : frame.size.width * 0.6;
    figure.size = {frame.size.width, height};
    const auto value = [&](const core::ComplexityPoint& p) { return isBytes ? p.cost.bytesHeld : p.seconds; };
    double low = 1e300, high = 0;
    for (const core::ComplexityPoint& p : data.points) {
      if (!p.refusal.empty() || value(p) <= 0) continue;
      low = std::min(low, value(p));
      high = std::max(high, value(p));
    }
    if (high <= 0) return emptyFigure(frame.size, "Nothing could be measured", "Choose other mechanisms", t);
    const double labels = std::min(t.smallSize * 17, frame.size.width * 0.35);
    const Rect plot{t.smallSize * 6, t.smallSize * 3, frame.size.width - t.smallSize * 7 - labels, height - t.smallSize * 7.5};
    if (plot.width < 20 || plot.height < 20) return emptyFigure(frame.size, "Too small for a chart", "Make the pane larger", t);
    const double first = static_cast<double>(data.sizes.front()), last = static_cast<double>(data.sizes.back());
    LineChart chart(figure, plot, {first, last, true, "tokens N"}, {low / 1.6, high * 1.6, true, isBytes ? "bytes held" : "seconds"}, t);
    chart.addAxes();
    for (const int slope : {1, 2}) {  // through the lower left corner
      std::vector<Point> guide{{first, low}, {last, low * std::pow(last / first, slope)}};
      chart.addLine(guide, t.line, 1, {Pick::Kind::Value, -1, -1, -1, slope == 1 ? "O(N)" : "O(N^2)"});
      const Point end = chart.at(last, std::min(guide[1].y, high * 1.3));
      figure.add(textAt({std::min(end.x, chart.at(first * std::pow(high * 1.3 / low, 1.0 / slope), high).x) - t.gap, end.y},
                        slope == 1 ? "O(N)" : "O(N²)", t.small(), t.inkSecond, AnchorX::Right, AnchorY::Bottom));
    }
    std::vector<double> taken;
    for (size_t m = 0; m < data.mechanisms(); ++m) {
      const auto mine = data.of(m);
      std::vector<Point> points;
      for (const core::ComplexityPoint& p : mine) {
        if (p.refusal.empty()) points.push_back({static_cast<double>(p.size), value(p)});
      }
      if (points.empty()) continue;
      const Color color = t.categories[m % t.categories.size()];
      chart.addLine(points, color, 1.8,
                    {Pick::Kind::Value, static_cast<int64_t>(m), -1, -1,
                     mine[0].mechanism + "\ngrows as N^" + shortNumber(core::growth(mine, isBytes))});
      double y = chart.at(points.back().x, points.back().y).y;
      while (std::any_of(taken.begin(), taken.end(), [&](double other) { return std::abs(other - y) < t.smallSize * 1.2; }))
        y += t.smallSize * 0.4;
      taken.push_back(y);
      TextItem label =
          textAt({plot.right() + t.gap, y}, shortTitle(mine[0].mechanism) + "  N^" + shortNumber(core::growth(mine, isBytes), 2), t.small(),
                 color, AnchorX::Left, AnchorY::Middle);
      label.maxWidth = labels;
      figure.add(std::move(label));
    }
    figure.caption = std::string(isBytes ? "Bytes that one thread holds beside Q, K, V and the output" : "Measured time of one head") +
                     ", width " + std::to_string(data.width) +
                     ", against the number of tokens; grey: slopes 1 and 2. DenseAttention is a what-if without softmax.";
    return figure;
  }
};

}  // namespace

const View& complexityView() {
  static const ComplexityView view;
  return view;
}

}  // namespace headscope::views
