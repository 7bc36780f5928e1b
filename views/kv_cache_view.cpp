// KV cache: bytes of keys and values under each scheme, stacked by layer, at a context length.
// options.numbers: context (tokens), bytes (of a number, default 2); of the what-ifs: groups, latent, window, reuse_every.
#include <algorithm>
#include <cmath>

#include "core/mechanisms/cache_size.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/mechanism_words.h"
#include "views/option_values.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

int64_t contextOf(const ViewInput& input) {
  const double own = input.model && input.model->spec().context > 0 ? static_cast<double>(input.model->spec().context) : 4096.0;
  return static_cast<int64_t>(std::clamp(numberOf(input.options, "context", own), 1.0, 1e12));
}

enum Control : int64_t { kContext = 1, kDType = 2 };

core::CacheWhatIfs whatIfsOf(const core::ViewOptions& options) {
  core::CacheWhatIfs out;
  const auto whole = [&](const char* name, int64_t standard, double most) {
    return static_cast<int64_t>(std::clamp(numberIn(options, name, static_cast<double>(standard)), 0.0, most));
  };
  out.groups = whole("groups", 0, 65536);
  out.latent = std::max<int64_t>(1, whole("latent", out.latent, 1 << 20));
  out.window = std::max<int64_t>(1, whole("window", out.window, 1e12));
  out.reuseEvery = std::max<int64_t>(1, whole("reuse_every", out.reuseEvery, 1024));
  return out;
}

struct KvCacheData : ViewData {};

class KvCacheView : public View {
 public:
  std::string_view name() const override { return "kv_cache"; }
  std::string_view title() const override { return "KV cache"; }
  bool needsTrace() const override { return false; }
  std::string whyNot(const core::ModelSpec& spec) const override {
    return spec.isCausal ? "" : "This model reads all positions at once: it keeps no keys and values from step to step";
  }
  std::string subject(const ViewInput& input) const override {
    return input.model ? std::to_string(contextOf(input)) + " tokens" : std::string();
  }
  std::string dataKey(const ViewInput&, Size) const override { return {}; }
  std::shared_ptr<const ViewData> compute(const ViewInput&, Size, core::Job&) const override { return std::make_shared<KvCacheData>(); }

  Figure draw(const ViewInput& input, const ViewData*, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "What keys and values cost in memory", "Open a model folder", frame.theme);
    const Theme& t = frame.theme;
    const auto schemes = core::cacheSchemes(input.model->spec(), whatIfsOf(input.options));
    const int64_t context = contextOf(input);
    const double bytes = std::clamp(numberIn(input.options, "bytes", 2), 0.125, 16.0);
    Figure figure;
    figure.background = t.canvas;
    figure.title = "KV cache of " + input.model->name();
    // In a column of a page names stand over the bars, else beside them
    const bool isNarrow = frame.size.width < t.smallSize * 60;
    const double left = isNarrow ? t.gap : std::min(frame.size.width * 0.34, t.smallSize * 26), right = t.smallSize * 7;
    const double top = t.smallSize * 3 + t.gap, bar = t.smallSize * 1.9, row = isNarrow ? bar + t.smallSize * 1.9 : t.smallSize * 2.4;
    figure.size = {frame.size.width,
                   frame.size.height > 0 ? frame.size.height : top + row * static_cast<double>(schemes.size()) + 2 * t.gap};
    double largest = 1;
    for (const auto& scheme : schemes) largest = std::max(largest, core::cacheBytes(scheme, context, bytes));
    addControls(figure, input, context, bytes, frame);
    const double width = frame.size.width - left - right - t.gap;
    for (size_t s = 0; s < schemes.size(); ++s) {
      const core::CacheScheme& scheme = schemes[s];
      const double y = top + row * static_cast<double>(s) + (isNarrow ? t.smallSize * 1.5 : 0),
                   total = core::cacheBytes(scheme, context, bytes);
      TextItem label =
          isNarrow
              ? textAt({left, y - 2}, scheme.title, t.small(), s == 0 ? t.ink : t.inkSecond, AnchorX::Left, AnchorY::Bottom)
              : textAt({left - t.gap, y + bar / 2}, scheme.title, t.small(), s == 0 ? t.ink : t.inkSecond, AnchorX::Right, AnchorY::Middle);
      label.maxWidth = isNarrow ? frame.size.width - 2 * t.gap : left - 2 * t.gap;
      figure.add(std::move(label));
      double x = left;
      for (size_t l = 0; l < scheme.numbers.size(); ++l) {
        const double part = core::cacheBytes(scheme, context, bytes, static_cast<int64_t>(l)), w = width * part / largest;
        if (w <= 0) continue;
        const Color fill = mix(s == 0 ? t.accent : t.categories[2], t.canvas, 0.35 * static_cast<double>(l % 2));
        figure.add(RectItem{{x, y, w, bar}, fill, kTransparent}).pick = {
            Pick::Kind::Value, static_cast<int64_t>(s), static_cast<int64_t>(l), -1,
            scheme.title + "\nlayer " + std::to_string(l) + "  " + byteSize(part) + "\nmodel  " + byteSize(total) + ", " +
                byteSize(scheme.numbersPerToken() * bytes) + " a token"};
        x += w;
      }
      figure.add(textAt({x + t.gap / 2, y + bar / 2}, byteSize(total), t.small(), t.ink, AnchorX::Left, AnchorY::Middle));
    }
    figure.caption = "Key/value cache of " + input.model->name() + " at " + std::to_string(context) + " tokens and " + shortNumber(bytes) +
                     " bytes a number, as it is and under what-ifs on its shapes; shades are layers.";
    return figure;
  }

  Table table(const ViewInput& input, core::Job&) const override {
    Table table{{"layer", "scheme", "title", "context", "numbers_per_token", "bytes"}, {}};
    if (!input.model) return table;
    const int64_t context = contextOf(input);
    const double bytes = std::clamp(numberIn(input.options, "bytes", 2), 0.125, 16.0);
    for (const auto& scheme : core::cacheSchemes(input.model->spec(), whatIfsOf(input.options))) {
      for (size_t l = 0; l < scheme.numbers.size(); ++l) {
        table.rows.push_back({std::to_string(l), scheme.name, scheme.title, std::to_string(context), shortNumber(scheme.numbers[l], 9),
                              shortNumber(core::cacheBytes(scheme, context, bytes, static_cast<int64_t>(l)), 12)});
      }
    }
    return table;
  }

  /// The wheel doubles or halves the context.
  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection&) const override {
    if (!input.model) return false;
    if (isOn(contextSlider(), gesture)) {
      options.numbers["context"] = valueOf(contextSlider(), gesture);
      return true;
    }
    if (gesture.kind == Gesture::Kind::Click && gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == kDType) {
      const auto& types = core::cacheDTypes();
      options.numbers["bytes"] =
          types[static_cast<size_t>(std::clamp<int64_t>(gesture.pick.b, 0, static_cast<int64_t>(types.size()) - 1))].bytes;
      return true;
    }
    if (gesture.kind == Gesture::Kind::DoubleClick) return options.numbers.erase("context") > 0;
    if (gesture.kind != Gesture::Kind::Wheel) return false;
    options.numbers["context"] =
        std::clamp(std::round(static_cast<double>(contextOf(input)) * std::exp2(gesture.delta.y > 0 ? 0.5 : -0.5)), 1.0, 1e9);
    return true;
  }

 private:
  static FigureSlider contextSlider() { return {kContext, 128, 1048576, true, true}; }

  /// A slider and the dtypes on screen; on paper what they say.
  static void addControls(Figure& figure, const ViewInput& input, int64_t context, double bytes, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    std::string type = shortNumber(bytes) + " bytes a number";
    for (const core::CacheDType& known : core::cacheDTypes()) {
      if (known.bytes == bytes) type = known.name;
    }
    if (frame.isPaper) {
      figure.add(textAt({t.gap, t.gap}, std::to_string(context) + " tokens, " + type + "; one shade a layer", t.small(), t.inkSecond,
                        AnchorX::Left, AnchorY::Top));
      return;
    }
    Point at{t.gap, t.gap + t.smallSize * 0.6};
    at.x = addSlider(figure, contextSlider(), at, static_cast<double>(contextOf(input)), "context", std::to_string(context) + " tokens",
                     "Tokens whose keys and values are kept; the wheel moves it too", frame) +
           3 * t.gap;
    int64_t index = 0;
    for (const core::CacheDType& known : core::cacheDTypes()) {
      at.x = addWordButton(figure, kDType, index++, at, known.name, known.bytes == bytes, shortNumber(known.bytes) + " bytes a number",
                           frame) +
             1.5 * t.gap;
    }
  }
};

}  // namespace

const View& kvCacheView() {
  static const KvCacheView view;
  return view;
}

}  // namespace headscope::views
