// Spectra: singular values of one matrix and the energy beyond a rank: every head of the selected layer, or the selected head of
// every layer; effective rank against the rotary offset; the prompt under the head cut to a rank.
// options.words: matrix ("W_QK"), across ("heads" or "layers"), form ("values", "energy", both when unset, "offset", "truncated"),
// weights ("prompt": seen through the covariance of what the heads read in the prompt).
// options.numbers: normalised (0, 1), offset (W_QK under RoPE), last_offset, mark_1 and mark_2 (energy left out, 0.01 and 0.001) or
// rank_1 and rank_2 in their place, rank_qk and rank_ov (truncated). options.words axis, or options.scale in its place: linear or log;
// neither (square root): whichever the values ask for.
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/figure_slider.h"
#include "views/option_values.h"
#include "views/screen_notes.h"
#include "views/spectra_charts.h"
#include "views/truncated_picture.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr const char* kForms[] = {"", "offset", "truncated"};
constexpr const char* kFormWords[] = {"spectrum", "offset", "truncated"};
constexpr const char* kFormTips[] = {"Singular values, and the energy beyond a rank", "Rank of W_QK against the rotary offset",
                                     "The prompt's map and output with the head cut to a rank"};

FigureSlider offsetSlider(const ViewInput& input) { return {kOffsetSlider, 0, static_cast<double>(lastOffsetIn(input)), false, true}; }

FigureSlider rankSlider(const ViewInput& input, bool ov) {
  const core::ModelSpec& spec = input.model->spec();
  return {ov ? kOvSlider : kQkSlider, 0, static_cast<double>(std::max<int64_t>(1, ov ? spec.valueWidth : spec.headWidth)), false, true};
}

class SpectraView : public View {
 public:
  std::string_view name() const override { return "spectra"; }
  std::string_view title() const override { return "Spectra"; }
  bool needsTrace() const override { return false; }
  std::string subject(const ViewInput& input) const override {
    if (!input.model) return {};
    const std::string head = core::headName(input.selection.ref());
    switch (spectraForm(input)) {
      case SpectraForm::Offset:
        return "W_QK against the offset, layer " + std::to_string(input.selection.layer) + ", " + foldWords(*input.model);
      case SpectraForm::Truncated:
        return head + " at rank " + std::to_string(truncatedRank(input, false)) + ", " + std::to_string(truncatedRank(input, true)) + ", " +
               foldWords(*input.model);
      default:
        break;
    }
    const std::string where = isAcrossLayers(input) && isWholeMatrix(input) ? " of every layer"
                              : isAcrossLayers(input) ? " of head " + std::to_string(input.selection.head) + " in every layer"
                                                      : " of layer " + std::to_string(input.selection.layer);
    return spectraMatrix(input) + where + (isWeighted(input) ? " on the prompt" : "");
  }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.model) return {};
    const std::string model = std::to_string(reinterpret_cast<uintptr_t>(input.model.get()));
    const std::string head = core::headName(input.selection.ref());
    switch (spectraForm(input)) {
      case SpectraForm::Offset:
        if (!hasOffset(input)) return {};
        return "offset:" + model + ":" + head + ":" + std::to_string(lastOffsetIn(input)) + ":" + wordIn(input.options, "matrix", "W_QK");
      case SpectraForm::Truncated:
        if (!input.trace || input.selection.layer >= input.trace->layersRun()) return {};
        return "truncated:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + head + ":" +
               std::to_string(truncatedRank(input, false)) + ":" + std::to_string(truncatedRank(input, true));
      default:
        break;
    }
    if (isWeighted(input) && (!input.trace || input.selection.layer >= input.trace->layersRun())) return {};
    const std::string weights = isWeighted(input) ? ":on " + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + "/" +
                                                        std::to_string(reinterpret_cast<uintptr_t>(input.baseTrace.get()))
                                                  : std::string();
    // With an adapter the selected head is computed without it too.
    const bool hasHead = isAcrossLayers(input) || input.model->adapter() != nullptr;
    return "spectra:" + model + weights + ":" + spectraMatrix(input) + ":" +
           (isAcrossLayers(input) ? "across" : std::to_string(input.selection.layer)) + (hasHead ? ":" + head : std::string());
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size size, core::Job& job) const override {
    return computeInParts(input, size, job, nullptr);
  }
  std::shared_ptr<const ViewData> computeInParts(const ViewInput& input, Size, core::Job& job, const ShowPart& show) const override {
    switch (spectraForm(input)) {
      case SpectraForm::Offset:
        return computeOffsets(input, job, show);
      case SpectraForm::Truncated:
        return computeTruncated(input, job);
      default:
        return computeSpectra(input, job, show);
    }
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.model) return emptyFigure(frame.size, "Singular values of every head", "Open a model folder", frame.theme);
    const double margin = frame.isPaper ? 0 : frame.theme.gap * 2, controls = frame.isPaper ? 0 : 24;
    const double width = frame.size.width - 2 * margin;
    const double height = frame.size.height > 0 ? frame.size.height - margin - controls - frame.theme.gap : 0;
    Rect area{margin, margin / 2 + controls, width, height};
    Figure figure;
    if (const auto* lines = dynamic_cast<const SpectraData*>(data); lines != nullptr && !lines->lines.empty() && isSpectrum(input)) {
      area.height = std::max(0.0, area.height - screenNotesHeight(lines->notes, frame));
      figure = drawSpectra(input, *lines, frame, area);
    } else if (const auto* offsets = dynamic_cast<const OffsetData*>(data);
               offsets != nullptr && spectraForm(input) == SpectraForm::Offset) {
      figure = drawOffsets(input, *offsets, frame, area);
    } else if (const auto* cut = dynamic_cast<const TruncatedData*>(data); cut != nullptr && spectraForm(input) == SpectraForm::Truncated) {
      figure = drawTruncated(input, *cut, frame, area);
    } else {
      figure = emptyFigure(frame.size, "Singular values of " + subject(input), whyEmpty(input), frame.theme);
    }
    if (!frame.isPaper) addControls(figure, input, frame, margin);
    return figure;
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    if (input.model && spectraForm(input) == SpectraForm::Offset && hasOffset(input)) return offsetTable(input, job);
    Table table{{"layer", "head", "matrix", "index", "sigma", "is_signal"}, {}};
    if (!input.model || dataKey(input, {}).empty()) return table;
    if (isWeighted(input)) table.columns.push_back("bias_share");
    const auto data = std::static_pointer_cast<const SpectraData>(computeSpectra(input, job, nullptr));
    for (const SpectrumLine& line : data->lines) {
      for (size_t i = 0; i < line.spectrum.sigma.size(); ++i) {
        const double v = line.spectrum.sigma[i];
        table.rows.push_back({std::to_string(line.head.layer), std::to_string(line.head.head), data->matrix, std::to_string(i + 1),
                              shortNumber(v, 7), v > line.spectrum.noise ? "1" : "0"});
        if (isWeighted(input)) table.rows.back().push_back(shortNumber(line.biasShare, 7));
      }
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (!input.model) return false;
    using Kind = Gesture::Kind;
    if (gesture.kind == Kind::Click && gesture.pick.kind == Pick::Kind::Head) {
      selection.layer = gesture.pick.a, selection.head = gesture.pick.b;
      if (isSpectrum(input) && isKeyValueMatrix(input)) selection.head = firstQueryHead(input, gesture.pick.b);
      return true;
    }
    if (gesture.kind == Kind::Click && isOnControl(gesture, kFormButton) && gesture.pick.b >= 0 && gesture.pick.b < 3) {
      options.words["form"] = kForms[gesture.pick.b];
      if (gesture.pick.b == 0) options.words.erase("form");
      return true;
    }
    if (gesture.kind == Kind::Click && isOnControl(gesture, kNormalised)) {
      options.numbers["normalised"] = numberIn(options, "normalised", 0) > 0 ? 0 : 1;
      return true;
    }
    if (gesture.kind == Kind::Click && isOnControl(gesture, kWeighted)) {
      if (isWeighted(input))
        options.words.erase("weights");
      else
        options.words["weights"] = "prompt";
      return true;
    }
    if (isOn(offsetSlider(input), gesture)) return set(options, "offset", valueOf(offsetSlider(input), gesture));
    for (const bool ov : {false, true}) {
      if (isOn(rankSlider(input, ov), gesture)) return set(options, ov ? "rank_ov" : "rank_qk", valueOf(rankSlider(input, ov), gesture));
    }
    if (isOnControl(gesture, kOffsetGrip))
      return set(options, "offset", std::round(draggedX(gesture) * static_cast<double>(lastOffsetIn(input))));
    for (const int which : {0, 1}) {
      const std::string number = std::to_string(which + 1);
      if (isOnControl(gesture, kEnergyGrip + which)) {
        options.numbers.erase("rank_" + number);
        return set(options, "mark_" + number, std::pow(kLeastEnergy, 1 - draggedY(gesture)));
      }
      if (isOnControl(gesture, kRankGrip + which))
        return set(options, "rank_" + number, std::round(1 + draggedX(gesture) * (axisEnd(gesture) - 1)));
    }
    if (gesture.kind == Kind::Wheel && hasOffset(input) && spectraForm(input) != SpectraForm::Truncated) {
      return set(
          options, "offset",
          std::clamp(static_cast<double>(offsetIn(input)) + (gesture.delta.y > 0 ? 1 : -1), 0.0, static_cast<double>(lastOffsetIn(input))));
    }
    if (gesture.kind == Kind::DoubleClick) {
      for (const char* key : {"mark_1", "mark_2", "rank_1", "rank_2"}) options.numbers.erase(key);
      return true;
    }
    return false;
  }

 private:
  /// A layer's own, not its heads'.
  static bool isWholeMatrix(const ViewInput& input) {
    const std::string matrix = spectraMatrix(input);
    return matrix == "W_DQ" || matrix == "W_DKV" || matrix == "W_KR" || matrix.starts_with("whole_");
  }
  static bool isSpectrum(const ViewInput& input) {
    return spectraForm(input) != SpectraForm::Offset && spectraForm(input) != SpectraForm::Truncated;
  }
  static bool set(core::ViewOptions& options, const std::string& key, double value) {
    options.numbers[key] = value;
    return true;
  }
  /// The index axis' end, which its grips carry.
  static double axisEnd(const Gesture& gesture) { return static_cast<double>(std::max<int64_t>(2, gesture.pick.b)); }
  static bool isKeyValueMatrix(const ViewInput& input) {
    const std::string matrix = wordIn(input.options, "matrix", "W_QK");
    return (matrix == "W_K" || matrix == "W_V") && input.model->spec().kvHeads < input.model->spec().heads;
  }
  static int64_t firstQueryHead(const ViewInput& input, int64_t kvHead) {
    const core::ModelSpec& spec = input.model->spec();
    return kvHead * spec.heads / std::max<int64_t>(1, spec.kvHeads);
  }

  static std::string whyEmpty(const ViewInput& input) {
    if (spectraForm(input) == SpectraForm::Offset && !hasOffset(input))
      return input.model->spec().positions == core::PositionKind::Rope
                 ? "Choose W_QK: no other matrix depends on the offset"
                 : "This model has no rotary positions: W_QK is the same at every offset";
    if ((spectraForm(input) == SpectraForm::Truncated || isWeighted(input)) && !input.trace) return "Run a prompt";
    return "Computing";
  }

  static Table offsetTable(const ViewInput& input, core::Job& job) {
    Table table{{"layer", "head", "matrix", "offset", "effective_rank", "effective_rank_0.1", "stable_rank", "entropy_rank"}, {}};
    const auto data = std::static_pointer_cast<const OffsetData>(computeOffsets(input, job, nullptr));
    for (const core::OffsetCurve& curve : data->curves) {
      for (const core::OffsetPoint& p : curve.points) {
        table.rows.push_back({std::to_string(curve.layer), std::to_string(curve.head), data->matrix, std::to_string(p.offset),
                              std::to_string(p.measures.effectiveAt1Percent), std::to_string(p.measures.effectiveAt01Percent),
                              shortNumber(p.measures.stable, 7), shortNumber(p.measures.entropy, 7)});
      }
    }
    return table;
  }

  static void addControls(Figure& figure, const ViewInput& input, const ViewFrame& frame, double margin) {
    const double y = margin / 2 + 10, gap = frame.theme.gap * 2;
    const int form = isSpectrum(input) ? 0 : spectraForm(input) == SpectraForm::Offset ? 1 : 2;
    double x = margin;
    const bool isRotary = input.model->spec().positions == core::PositionKind::Rope;
    for (int i = 0; i < 3; ++i) {
      if (i == 1 && !isRotary && form != 1) continue;
      x = addWordButton(figure, kFormButton, i, {x, y}, kFormWords[i], i == form, kFormTips[i], frame) + gap;
    }
    const double room = frame.size.width - margin;
    const auto slider = [&](const FigureSlider& s, double value, const char* label, const char* tip) {
      const std::string text = shortNumber(value, 6);
      if (x + sliderWidth(label, text, frame) < room) x = addSlider(figure, s, {x, y}, value, label, text, tip, frame) + gap;
    };
    if (form == 2) {
      slider(rankSlider(input, false), static_cast<double>(truncatedRank(input, false)), "QK rank", "Rank that is left of W_QK");
      slider(rankSlider(input, true), static_cast<double>(truncatedRank(input, true)), "OV rank", "Rank that is left of W_OV");
    } else if (hasOffset(input)) {
      slider(offsetSlider(input), static_cast<double>(offsetIn(input)), "offset",
             "Distance in tokens at which W_QK is seen under RoPE; the wheel moves it too");
    }
    const auto word = [&](SpectraControl id, const char* text, bool isLit, const char* tip) {
      if (form == 0 && x + frame.measure.width(text, frame.theme.small()) < room)
        x = addWordButton(figure, id, 0, {x, y}, text, isLit, tip, frame) + gap;
    };
    word(kNormalised, "normalised", numberIn(input.options, "normalised", 0) > 0, "Divide every spectrum by its largest value");
    word(kWeighted, "on the prompt", isWeighted(input), "Weights seen through the covariance of what the heads read in the prompt");
  }

  static Figure start(const ViewFrame& frame, const char* title) {
    Figure figure;
    figure.size = frame.size;
    figure.background = frame.theme.canvas;
    figure.title = title;
    return figure;
  }

  static Figure drawSpectra(const ViewInput& input, const SpectraData& data, const ViewFrame& frame, Rect area) {
    const Theme& t = frame.theme;
    Figure figure = start(frame, "Spectra");
    const SpectraForm form = spectraForm(input);
    const bool isBoth = form == SpectraForm::Both && (frame.size.height <= 0 || area.height > 23.6 * t.smallSize);
    if (frame.size.height <= 0) {
      const double one = std::min(area.width * 0.55, 200.0);
      area.height = isBoth ? one * 1.75 : one;
      figure.size.height = area.height;
    }
    const SpectraCharts charts{input, data, frame};
    const double upper = isBoth ? area.height * 0.54 : area.height;
    if (form != SpectraForm::Energy) charts.addValues(figure, {area.x, area.y, area.width, upper}, !isBoth);
    if (isBoth) charts.addEnergy(figure, {area.x, area.y + upper, area.width, area.height - upper});
    if (form == SpectraForm::Energy) charts.addEnergy(figure, area);
    const SpectrumLine* own = charts.selected();
    std::string fold = data.isFolded ? "norms folded" : "norms not folded";
    if (data.tokens > 0) {
      fold = "weighted by " + std::to_string(data.tokens) + " tokens";
      if (own != nullptr && std::isfinite(own->biasShare)) fold += ", mean's share " + shortNumber(100 * own->biasShare, 2) + " %";
    }
    if (frame.measure.width(fold + data.matrix + ", singular value / largest", t.small()) < area.width)
      figure.add(
          textAt({area.x + area.width, area.y + t.smallSize * 2 - t.gap}, fold, t.small(), t.inkSecond, AnchorX::Right, AnchorY::Bottom));
    figure.caption =
        "Singular values of " + data.matrix +
        (data.isWhole ? (isAcrossLayers(input) ? std::string(" of every layer") : " of layer " + std::to_string(input.selection.layer))
         : isAcrossLayers(input) ? " of head " + std::to_string(input.selection.head) + " in every layer"
                                 : " of every head of layer " + std::to_string(input.selection.layer)) +
        " of " + data.modelName +
        (data.tokens > 0
             ? ", seen through the covariance of what the heads read in the " + std::to_string(data.tokens) + " tokens of the prompt"
             : std::string(", norm gains ") + (data.isFolded ? "folded" : "not folded"));
    if (own != nullptr) {
      figure.caption += data.isWhole ? "; of " + lineName(data, own->head) : "; of head " + lineName(data, own->head);
      for (const int which : {1, 2}) {
        const RankMark mark = rankMark(input.options, which, own->spectrum);
        if (mark.rank > 0) figure.caption += (which == 1 ? " " : ", ") + mark.label();
      }
      if (std::isfinite(own->biasShare))
        figure.caption += "; the mean input's share of its energy " + shortNumber(100 * own->biasShare, 3) + " %";
    }
    figure.caption += ".";
    if (!data.base.empty()) figure.caption += " base: without the adapter.";
    for (const std::string& note : data.notes) figure.caption += " " + note + ".";
    addScreenNotes(figure, data.notes, frame);
    return figure;
  }

  static Figure drawOffsets(const ViewInput& input, const OffsetData& data, const ViewFrame& frame, Rect area) {
    Figure figure = start(frame, "Rank against offset");
    if (frame.size.height <= 0) figure.size.height = area.height = std::min(area.width * 0.9, 320.0);
    const double upper = area.height * 0.47;
    addOffsetChart(figure, input, data, frame, {area.x, area.y, area.width, upper}, OffsetMeasure::EffectiveRank, false);
    addOffsetChart(figure, input, data, frame, {area.x, area.y + upper, area.width, area.height - upper}, OffsetMeasure::StableRank, true);
    figure.caption = "Effective rank at 99 % energy, and stable rank, of " + data.matrix +
                     "(offset) = W_Q R(offset) W_K^T of every head of layer " + std::to_string(input.selection.layer) + " of " +
                     data.modelName + ", against the offset of a query after its key, norm gains " +
                     (data.isFolded ? "folded." : "not folded.");
    return figure;
  }
};

}  // namespace

const View& spectraView() {
  static const SpectraView view;
  return view;
}

}  // namespace headscope::views
