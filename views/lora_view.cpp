// LoRA: what the adapter changed in every head: two heats of relative change (QK, OV), the heads it changed most with their three
// terms as stacked bars, the selected head's spectra before and after, wasted rank and intruder dimensions; on screen a slider
// for the adapter's strength, which moves everything that the window shows of the model.
// options.words: circuit ("QK" or "OV") of bars and spectra. options.numbers: offset (W_QK under RoPE).
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/weights/cached_results.h"
#include "views/device.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/head_heat.h"
#include "views/lora_parts.h"
#include "views/option_values.h"
#include "views/screen_notes.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

const FigureSlider kStrength{1, 0, 1.5, false, false};
constexpr int64_t kCircuit = 2;

const FigureSlider kOffset{3, 0, 64, false, true};

bool hasOffset(const ViewInput& input) { return input.model->spec().positions == core::PositionKind::Rope; }
int64_t offsetOf(const ViewInput& input) {
  return hasOffset(input) ? static_cast<int64_t>(std::clamp(numberIn(input.options, "offset", 0), 0.0, 1e6)) : 0;
}

/// Whether a picture of this size may hold the grids of wasted rank and intruders. On the screen they follow in any case: tips and panes
/// that grow show them. Width 0: a table.
bool showsModules(Size size) { return size.height > 0 || size.width == 0 || size.width > 400; }

bool isOv(const core::ViewOptions& options) { return wordIn(options, "circuit", "QK") == "OV"; }

class LoraView : public View {
 public:
  std::string_view name() const override { return "lora"; }
  std::string_view title() const override { return "LoRA"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    return std::string(isOv(input.options) ? "OV" : "QK") + ", norms not folded";
  }

  std::string dataKey(const ViewInput& input, Size size) const override {
    if (!input.model || input.model->adapter() == nullptr) return {};
    return "lora:" + std::to_string(reinterpret_cast<uintptr_t>(input.model.get())) + ":" + std::to_string(offsetOf(input)) +
           (showsModules(size) ? "" : ":heads");
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const override {
    return computeInParts(input, size, job, nullptr);
  }

  std::shared_ptr<const ViewData> computeInParts(const ViewInput& input, Size size, core::Job& job, const ShowPart& show) const override {
    LoraData data;
    const auto base = input.model->withoutAdapter();
    data.modelName = base->name(), data.strength = input.model->strength();
    data.layers = base->spec().layers, data.heads = base->spec().heads;
    data.done.resize(static_cast<size_t>(data.layers));
    data.modules = core::loraModules(*input.model, job);
    // Terms of all layers first; intruders and angles, which cost more, after them, and on paper only where the picture has them.
    const double passes = showsModules(size) ? 2 : 1;
    for (const bool withDetails : {false, true}) {
      if (withDetails && passes < 2) break;
      if (!withDetails && passes == 2 && !show) continue;  // nobody looks at what comes first
      core::LoraOptions options;
      options.withDetails = withDetails;
      options.offset = offsetOf(input);
      options.backend = deviceOf(input);
      for (int64_t l = 0; l < data.layers; ++l) {
        job.report(((withDetails ? 1.0 : 0.0) + static_cast<double>(l) / static_cast<double>(data.layers)) / passes,
                   (withDetails ? "intruders and angles, layer " : "layer ") + std::to_string(l));
        data.done[static_cast<size_t>(l)] =
            std::make_shared<const core::LoraLayer>(core::cachedLayerLora(*base, *input.model, l, options, core::DiskCache::ofUser(), job));
        if (show) show(std::make_shared<const LoraData>(data));
      }
    }
    return std::make_shared<const LoraData>(std::move(data));
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    const char* what = "What an adapter changed in every head";
    if (!input.model) return emptyFigure(frame.size, what, "Open a model folder", frame.theme);
    if (input.model->adapter() == nullptr) return emptyFigure(frame.size, what, "Open an adapter", frame.theme);
    const auto* lora = dynamic_cast<const LoraData*>(data);
    if (lora == nullptr || lora->layers == 0) return emptyFigure(frame.size, what, "Computing", frame.theme);
    return drawAll(input, *lora, frame);
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "relative_qk", "relative_ov", "query_term", "key_term", "value_term", "output_term", "both_qk", "both_ov",
                 "intruders_qk_read", "intruders_qk_matched", "intruders_ov_read", "intruders_ov_written"},
                {}};
    if (dataKey(input, {}).empty()) return table;
    const auto data = std::static_pointer_cast<const LoraData>(compute(input, {}, job));
    for (const auto& layer : data->done) {
      for (const core::HeadLora& h : layer->heads) {
        std::vector<std::string> row{std::to_string(h.layer), std::to_string(h.head)};
        for (const double v : {h.qk.relative, h.ov.relative, h.qk.termNorms[0], h.qk.termNorms[1], h.ov.termNorms[0], h.ov.termNorms[1],
                               h.qk.termNorms[2], h.ov.termNorms[2]}) {
          row.push_back(shortNumber(v, 7));
        }
        for (const int64_t n : {h.qk.intrudersLeft, h.qk.intrudersRight, h.ov.intrudersLeft, h.ov.intrudersRight})
          row.push_back(std::to_string(n));
        table.rows.push_back(std::move(row));
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model) return false;
    if (isOn(kStrength, gesture)) {
      const double strength = std::round(valueOf(kStrength, gesture) * 20) / 20;
      if (strength != input.model->strength()) options.numbers[kStrengthOption] = strength;
      return true;
    }
    if (isOn(kOffset, gesture)) {
      options.numbers["offset"] = valueOf(kOffset, gesture);
      return true;
    }
    if (brushByDrag(gesture, selection)) return true;
    if (gesture.kind != Gesture::Kind::Click) return false;
    if (gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == kCircuit) {
      options.words["circuit"] = gesture.pick.b == 1 ? "OV" : "QK";
      return true;
    }
    if (gesture.pick.kind != Pick::Kind::Head) return false;
    selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
    if (gesture.pick.c >= 0) options.words["circuit"] = gesture.pick.c == 1 ? "OV" : "QK";
    if (gesture.pick.c >= 0) selection.brushed.clear();
    return true;
  }

 private:
  static void addControls(Figure& figure, const ViewInput& input, const ViewFrame& frame, double margin) {
    const double y = margin + 6, gap = frame.theme.gap * 2;
    const double x = addSlider(figure, kStrength, {margin, y}, input.model->strength(), "strength", fixedNumber(input.model->strength(), 2),
                               "Strength of the adapter: 0 is the base model, 1 as trained. Maps, scores and this view follow", frame);
    const bool ov = isOv(input.options);
    const double next = addWordButton(figure, kCircuit, 0, {x + gap * 2, y}, "QK", !ov, "Bars and spectra of W_QK", frame);
    const double after = addWordButton(figure, kCircuit, 1, {next + gap, y}, "OV", ov, "Bars and spectra of W_OV", frame) + gap * 2;
    const std::string offset = std::to_string(offsetOf(input));
    if (hasOffset(input) && after + sliderWidth("offset", offset, frame) < frame.size.width - margin)
      addSlider(figure, kOffset, {after, y}, static_cast<double>(offsetOf(input)), "offset", offset,
                "Distance in tokens at which the change of W_QK is seen under RoPE", frame);
  }

  static Figure drawAll(const ViewInput& input, const LoraData& data, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "LoRA";
    const double margin = frame.isPaper ? 0 : t.gap * 2, gap = t.gap * 2, width = frame.size.width - 2 * margin;
    const bool ov = isOv(input.options), isFixed = frame.size.height > 0;
    const double controls = frame.isPaper ? 0 : 24;
    const double room = isFixed ? frame.size.height - 2 * margin - controls : 1e9;
    const bool hasModules = isFixed ? room > 460 : showsModules(frame.size);
    const double upper = loraGridsHeight(data, width, isFixed ? room * (hasModules ? 0.42 : 0.5) : 1e9, frame);
    const double modules =
        hasModules ? std::min(isFixed ? room * 0.26 : 1e9, t.smallSize * 3.4 + static_cast<double>(data.layers) * t.smallSize * 1.7) : 0;
    const double middle = isFixed ? room - upper - gap - (hasModules ? modules + gap : 0) : t.smallSize * 17;
    figure.size = {frame.size.width, isFixed ? frame.size.height : upper + gap + middle + (hasModules ? modules + gap : 0)};
    if (!frame.isPaper) addControls(figure, input, frame, margin);
    double y = margin + controls;
    addLoraGrids(figure, input, data, frame, {margin, y, width, upper}, frame.isPaper ? 24 : 32);
    y += upper + gap;
    const double half = (width - gap) / 2;
    if (!frame.isPaper && width < 420) {  // a narrow pane: one under the other
      const double bars = middle * 0.55;
      addLoraTopHeads(figure, input, data, frame, {margin, y, width, bars}, ov);
      addLoraSpectra(figure, input, data, frame, {margin, y + bars + gap, width, middle - bars - gap}, ov);
    } else {
      addLoraTopHeads(figure, input, data, frame, {margin, y, half, middle}, ov);
      addLoraSpectra(figure, input, data, frame, {margin + half + gap, y, half, middle}, ov);
    }
    y += middle + gap;
    if (hasModules) {
      addWastedRanks(figure, data, frame, {margin, y, half, modules});
      addIntruders(figure, data, frame, {margin + half + gap, y, half, modules});
    }
    int64_t others = 0, wasted = 0, rank = 0;
    for (const core::LoraModule& m : data.modules) others += !m.isAttention, wasted += m.wastedRank, rank += m.rank;
    figure.caption =
        "Change of W_QK and W_OV of every head of " + data.modelName + " by the adapter at strength " + shortNumber(data.strength) +
        (hasOffset(input) ? ", W_QK at offset " + std::to_string(offsetOf(input)) : std::string()) +
        ", as a share of the head's norm; the heads changed most with the norms of their three terms; singular values of head " +
        core::headName(input.selection.ref()) + " before and after. " + std::to_string(wasted) + " of " + std::to_string(rank) +
        " ranks of the adapter's modules hold less than 0.1 % of the energy; " + std::to_string(others) + " modules beside attention.";
    std::vector<std::string> notes;
    for (const auto& layer : data.done) {
      if (layer) notes.insert(notes.end(), layer->notes.begin(), layer->notes.end());
    }
    for (const std::string& note : notes) figure.caption += " " + note + ".";
    addScreenNotes(figure, notes, frame);
    return figure;
  }
};

}  // namespace

const View& loraView() {
  static const LoraView view;
  return view;
}

}  // namespace headscope::views
