// Mask studio: a pattern drawn at the prompt's size, the true map under it, mass kept a row beside it, and what it saves.
// options.words: mechanism ("local:window=64"), replace (whole_model.h). On the pattern of a block mask a click draws or erases
// a block, and a drag draws all that it crosses.
#include <algorithm>
#include <cmath>
#include <optional>

#include "core/base/error.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/softmax_run.h"
#include "views/color_ramp.h"
#include "views/facts.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/map_sampling.h"
#include "views/mechanism_words.h"
#include "views/parameter_sliders.h"
#include "views/view_list.h"
#include "views/whole_model.h"

namespace headscope::views {
namespace {

constexpr double kCells = 512;  // a picture is at most this many cells a side

struct MaskData : ViewData {
  std::string mechanism, refusal, modelName;
  core::HeadRef head;
  int64_t count = 0, step = 1;  // N, tokens a cell
  core::Matrix pattern, truth;  // [cells, cells]: share of the cell's pairs that are seen; largest true weight, less than 0 where kept
  core::MechanismResult result;
  core::Cost dense;
  WholeModel whole;
  float largestOfFirst = 0, largestBeyond = 0;  // true weights in the first token's column, and in the others
  MapImageCache patternCache, truthCache;

  double largest(bool isFirstLeftOut) const {
    const float all = isFirstLeftOut && count > 1 ? largestBeyond : std::max(largestOfFirst, largestBeyond);
    return all > 0 ? static_cast<double>(all) : 1.0;
  }
};

/// Pooled pictures of the mask (mean) and of the true map (largest), a block of rows at a time.
void fillPictures(const core::HeadInput& input, const core::Mechanism& mechanism, MaskData& data, core::Job& job) {
  const int64_t n = data.count, cells = (n + data.step - 1) / data.step;
  data.pattern = core::Matrix::zeros(cells, cells);
  data.truth = core::Matrix::zeros(cells, cells);
  const auto run = mechanism.bind(input, job);
  const auto dense = core::parseMechanism("dense")->bind(input, job);
  const auto* softmax = dynamic_cast<const core::SoftmaxRun*>(run.get());
  core::Matrix rows(data.step, n);
  core::RangeList ranges;
  const float share = 1.0f / static_cast<float>(data.step * data.step);
  for (int64_t cell = 0; cell < cells; ++cell) {
    job.checkpoint();
    const int64_t first = cell * data.step, height = std::min(data.step, n - first);
    dense->mapRows(first, height, rows.view().rowsFrom(0, height), job);
    for (int64_t r = 0; r < height; ++r) {
      for (int64_t j = 0; j < n; ++j) data.truth(cell, j / data.step) = std::max(data.truth(cell, j / data.step), rows(r, j));
      data.largestOfFirst = std::max(data.largestOfFirst, rows(r, 0));
      for (int64_t j = 1; j < n; ++j) data.largestBeyond = std::max(data.largestBeyond, rows(r, j));
    }
    if (softmax != nullptr) {
      softmax->head().mask->blockRanges(first, height, ranges);
      for (const core::KeyRange& range : ranges.ranges) {
        for (int64_t j = range.first; j < range.end; ++j) data.pattern(cell, j / data.step) += share;
      }
    } else {
      run->mapRows(first, height, rows.view().rowsFrom(0, height), job);
      for (int64_t r = 0; r < height; ++r) {
        for (int64_t j = 0; j < n; ++j) data.pattern(cell, j / data.step) += rows(r, j) != 0.0f ? share : 0.0f;
      }
    }
    for (int64_t c = 0; c < cells; ++c) {  // kept weights are blue on the diverging ramp, which is its negative side
      if (data.pattern(cell, c) > 0) data.truth(cell, c) = -data.truth(cell, c);
    }
  }
}

/// Where the parts stand. Takes the screen's sizes of any theme: only paper has others.
struct MaskLayout {
  Rect pattern, truth, strip;
  double below = 0;  // where the numbers begin
  Size size;
};

constexpr size_t kFacts = 8;

MaskLayout layoutOf(Size size, bool isPaper, const Theme& t) {
  const double strip = std::min(56.0, size.width * 0.12), top = t.gap * 2 + t.smallSize * 1.4 + parameterSlidersHeight(size, isPaper, t),
               line = t.smallSize * 1.6;
  const double numbers = line * 4.4 + factsHeight(kFacts, size.width - 2 * t.gap, t) + 3 * t.gap;
  const double width = (size.width - 5 * t.gap - strip) / 2;
  const double side = std::max(24.0, size.height > 0 ? std::min(width, size.height - top - numbers) : width);
  MaskLayout out;
  out.pattern = {t.gap, top, side, side};
  out.truth = {out.pattern.right() + 2 * t.gap, top, side, side};
  out.strip = {out.truth.right() + t.gap, top, strip, side};
  out.below = top + side + t.gap;
  out.size = {size.width, size.height > 0 ? size.height : top + side + numbers};
  return out;
}

/// "block:size=16,blocks=..." with the block of this pair drawn; where it was drawn already it is taken away if isToggle.
std::string withBlock(const std::string& text, int64_t query, int64_t key, bool isToggle) {
  const std::string spelled = core::parseMechanism(text)->spelled();
  const size_t size = spelled.find("size="), blocks = spelled.find("blocks=");
  const int64_t side = std::max<int64_t>(1, std::strtoll(spelled.c_str() + size + 5, nullptr, 10));
  const std::string pair = std::to_string(query / side) + "." + std::to_string(key / side);
  std::string list = "+" + spelled.substr(blocks + 7) + "+";
  const size_t at = list.find("+" + pair + "+");
  if (at == std::string::npos) {
    list += pair + "+";
  } else if (isToggle) {
    list.erase(at, pair.size() + 1);
  }
  const std::string kept = list.size() > 1 ? list.substr(1, list.size() - 2) : std::string();
  return spelled.substr(0, blocks + 7) + (kept.empty() ? "none" : kept);
}

bool isBlocks(const std::string& mechanism) { return mechanism.substr(0, mechanism.find(':')) == "block"; }

/// Those that are a choice of keys.
std::vector<std::string> masks() {
  return {"local", "sinks", "strided",   "fixed",     "dilated",      "global",        "block",
          "topk",  "topp",  "clustered", "symmetric", "source_local", "source_strided"};
}

constexpr int64_t kDraw = 8;  // Pick::a of the word that begins a mask drawn by hand

class MaskView : public View {
 public:
  std::string_view name() const override { return "mask"; }
  std::string_view title() const override { return "Mask studio"; }
  bool isPerHead(const ViewInput&) const override { return true; }
  std::string subject(const ViewInput& input) const override { return shownSubject(input); }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    return "mask:" + shownKey(input) + wholeModelKey(input.options);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<MaskData>();
    data->mechanism = shownMechanism(input);
    data->head = input.selection.ref();
    data->modelName = input.trace->model().name();
    data->count = input.trace->count();
    data->step = int64_t{1} << levelFor(static_cast<double>(data->count), kCells);
    try {
      const auto mechanism = core::parseMechanism(data->mechanism);
      // The whole layer's weights are decoded only for what reads them: a slider waits for this
      std::optional<core::LayerHeads> layer;
      if (mechanism->name() == "dense_attention") layer.emplace(input.trace, data->head.layer, job);
      const core::HeadInput head = layer ? layer->input(data->head.head) : core::headInput(input.trace, data->head);
      const core::Matrix outputWeight = core::headOutputWeight(input.trace->model(), data->head);
      const std::shared_ptr<const core::Mechanism> both[] = {core::parseMechanism("dense"), mechanism};
      core::ComparisonOptions options;
      options.keepsRows = true;
      options.errors.hasRankCorrelation = false;  // not shown, and a sort of every row
      auto results = core::compareMechanisms(head, outputWeight, both, options, job);
      data->dense = results[0].cost;
      data->result = std::move(results[1]);
      data->refusal = data->result.refusal;
      if (data->refusal.empty()) {
        fillPictures(head, *mechanism, *data, job);
        data->whole = wholeModel(input, data->mechanism, job);
      }
    } catch (const core::Error& e) {
      data->refusal = e.what();
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.trace) return emptyFigure(frame.size, "An attention pattern over this prompt", "Open a model and run a prompt", frame.theme);
    const auto* mask = dynamic_cast<const MaskData*>(data);
    if (mask == nullptr) return emptyFigure(frame.size, shownMechanism(input), "Computing", frame.theme);
    if (!mask->refusal.empty()) {
      Figure figure = emptyFigure(frame.size, mask->refusal, "Choose another mechanism", frame.theme);
      addParameterSliders(figure, input, masks(), frame);
      return figure;
    }
    Figure figure = drawMask(*mask, input.options, frame);
    addParameterSliders(figure, input, masks(), frame);
    return figure;
  }

  Table table(const ViewInput& input, core::Job& job) const override {
    Table table{{"layer", "head", "mechanism", "query", "mass_kept", "kl", "cosine"}, {}};
    if (!input.trace) return table;
    const auto data = std::static_pointer_cast<const MaskData>(compute(input, {}, job));
    const core::HeadErrors& e = data->result.errors;
    for (size_t i = 0; i < e.massKept.size(); ++i) {
      table.rows.push_back({std::to_string(data->head.layer), std::to_string(data->head.head), data->mechanism, std::to_string(i),
                            shortNumber(static_cast<double>(e.massKept[i]), 7), shortNumber(static_cast<double>(e.kl[i]), 7),
                            shortNumber(static_cast<double>(e.cosine[i]), 7)});
    }
    return table;
  }

  bool handle(const Gesture& gesture, const ViewInput& input, Size size, core::ViewOptions& options,
              core::Selection& selection) const override {
    if (!input.trace) return false;
    if (toggleWholeModel(gesture, options)) return true;
    if (moveParameterSliders(gesture, input, masks(), options)) return true;
    const std::string text = shownMechanism(input);
    const bool isClick = gesture.kind == Gesture::Kind::Click;
    if (isClick && gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == kDraw) {
      const int64_t side = std::max<int64_t>(1, int64_t{1} << levelFor(static_cast<double>(input.trace->count()), 8));
      chooseMechanism(options, "block:size=" + std::to_string(side) + ",blocks=diagonal");
      return true;
    }
    if (gesture.pick.kind != Pick::Kind::Cell || gesture.isPan) return false;
    if (isClick && !isBlocks(text)) {
      selection.query = gesture.pick.a;
      selection.key = gesture.pick.b;
      return true;
    }
    if (!isBlocks(text) || (!isClick && gesture.kind != Gesture::Kind::Drag)) return false;
    int64_t query = gesture.pick.a, key = gesture.pick.b;
    if (!isClick) {  // a drag's pick is of where it began
      const Rect plot = layoutOf(size, false, lightTheme()).pattern;
      if (!plot.contains(gesture.start) || !plot.contains(gesture.at)) return false;
      const double count = static_cast<double>(input.trace->count());
      query = static_cast<int64_t>((gesture.at.y - plot.y) / plot.height * count);
      key = static_cast<int64_t>((gesture.at.x - plot.x) / plot.width * count);
    }
    chooseMechanism(options, withBlock(text, query, key, isClick));
    return true;
  }

 private:
  static void addPicture(Figure& figure, const Rect& plot, const MaskData& data, bool isPattern, const core::ViewOptions& options,
                         const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const core::Matrix& values = isPattern ? data.pattern : data.truth;
    ValueScale scale{core::ColorScale::Linear, 0, 1, false, false};
    if (!isPattern) {
      scale = {options.scale, 0, data.largest(options.hideFirst), options.limits.has_value(), true};
      if (options.limits) scale.low = options.limits->first, scale.high = options.limits->second;
    }
    const double cells = static_cast<double>(values.rows());
    figure.add(textAt({plot.x, plot.y - t.gap / 2}, isPattern ? "pattern" : "true map: kept, lost", t.small(), t.inkSecond, AnchorX::Left,
                      AnchorY::Bottom));
    addMap(figure, plot, values, {0, cells, 0, cells}, scale, isPattern ? attentionRamp(t) : divergingRamp(t),
           isPattern ? data.patternCache : data.truthCache, t, frame.isPaper);
    Item& area = figure.add(RectItem{plot, kTransparent, t.line, 0});
    area.pick = {Pick::Kind::Cell, -1, -1, -1, ""};
    area.pickRows = area.pickCols = cells;
    area.pickStep = static_cast<double>(data.step);
  }

  static Figure drawMask(const MaskData& data, const core::ViewOptions& options, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    Figure figure;
    figure.background = t.canvas;
    figure.title = "Mask " + headName(data.head) + ", " + data.mechanism;
    const MaskLayout layout = layoutOf(frame.size, frame.isPaper, t);
    figure.size = layout.size;
    addPicture(figure, layout.pattern, data, true, options, frame);
    addPicture(figure, layout.truth, data, false, options, frame);
    addMassStrip(figure, layout.strip, data, t);
    if (!frame.isPaper) addDrawWord(figure, layout.pattern, isBlocks(data.mechanism), frame);
    const double width = frame.size.width - 2 * t.gap, line = t.smallSize * 1.6;
    const core::MechanismResult& r = data.result;
    double y = layout.below;
    const auto addLine = [&](const std::string& text, const Font& font, Color color) {
      TextItem item = textAt({t.gap, y}, text, font, color, AnchorX::Left, AnchorY::Top);
      item.maxWidth = width;
      figure.add(std::move(item));
      y += line;
    };
    addLine(data.mechanism, t.mono(), t.ink);
    y += line * 0.2;
    const double density = r.cost.keptPairs / std::max(1.0, data.dense.keptPairs);
    addFacts(figure, {t.gap, y}, width, factsOf(data, density), t);
    y += factsHeight(kFacts, width, t);
    y += addWholeModelLine(figure, {t.gap, y}, width, data.whole, frame);
    if (!r.errors.emptyRows.empty())
      addLine(std::to_string(r.errors.emptyRows.size()) + " rows have nothing left to attend to: their output is zero", t.small(),
              t.warning);
    if (!r.notes.empty()) addLine(joined(r.notes), t.small(), t.warning);
    figure.caption = "Head " + headName(data.head) + " of " + data.modelName + " under " + data.mechanism + ", " +
                     std::to_string(data.count) +
                     " tokens: pattern, true map (weights kept blue, lost orange) and the true mass that it keeps in each row. Density " +
                     shortNumber(density) + ", output error " + shortNumber(r.errors.output) + "." +
                     (r.notes.empty() ? "" : " Note: " + joined(r.notes) + ".") +
                     (data.whole.heads.empty() ? "" : " Whole model: " + wholeModelText(data.whole) + ".");
    return figure;
  }

  static std::vector<Fact> factsOf(const MaskData& data, double density) {
    const core::MechanismResult& r = data.result;
    const auto share = [](double part, double whole) { return " (" + shortNumber(100 * part / std::max(1.0, whole)) + " %)"; };
    return {{"density", shortNumber(100 * density) + " %"},
            {"mass kept", shortNumber(r.errors.meanMassKept)},
            {"output error", shortNumber(r.errors.output)},
            {"KL", std::isnan(r.errors.meanKl) ? std::string("-") : shortNumber(r.errors.meanKl) + " nats"},
            {"cosine", shortNumber(r.errors.meanCosine)},
            {"operations", bigNumber(r.cost.operations) + share(r.cost.operations, data.dense.operations)},
            {"memory read", byteSize(r.cost.bytesMoved) + share(r.cost.bytesMoved, data.dense.bytesMoved)},
            {"weights", bigNumber(r.cost.keptPairs) + " of " + bigNumber(data.dense.keptPairs)}};
  }

  /// Above the pattern at its right: begins a mask drawn by hand, or says how one draws.
  static void addDrawWord(Figure& figure, const Rect& plot, bool isDrawing, const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const std::string word = isDrawing ? "click or drag to draw" : "draw blocks";
    const double width = frame.measure.width(word, t.small());
    if (width + t.smallSize * 5 > plot.width) return;
    const Point at{plot.right(), plot.y - t.gap / 2};
    figure.addOverlay(textAt(at, word, t.small(), isDrawing ? t.inkSecond : t.accent, AnchorX::Right, AnchorY::Bottom));
    if (isDrawing) return;
    figure.overlay.push_back(pickArea({at.x - width, at.y - t.smallSize * 1.4, width, t.smallSize * 1.6},
                                      {Pick::Kind::Control, kDraw, -1, -1, "A mask of blocks, drawn with the mouse"}));
  }

  /// A bar a row (or the worst of the rows that share one), from the left edge to the mass kept.
  static void addMassStrip(Figure& figure, const Rect& rect, const MaskData& data, const Theme& t) {
    figure.add(textAt({rect.x, rect.y - t.gap / 2}, "mass kept", t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom));
    figure.add(RectItem{rect, t.panel, kTransparent});
    const auto& kept = data.result.errors.massKept;
    const double rows = static_cast<double>(kept.size());
    const size_t step = std::max<size_t>(1, kept.size() / 256);
    for (size_t i = 0; i < kept.size(); i += step) {
      double least = 1;  // the worst row of those that share a bar
      for (size_t j = i; j < std::min(kept.size(), i + step); ++j)
        least = std::min(least, std::isnan(kept[j]) ? 0.0 : static_cast<double>(kept[j]));
      const Rect bar{rect.x, rect.y + rect.height * static_cast<double>(i) / rows, rect.width * std::clamp(least, 0.0, 1.0),
                     rect.height * static_cast<double>(step) / rows + 0.2};
      figure.add(RectItem{bar, t.accent, kTransparent}).pick = {Pick::Kind::Value, static_cast<int64_t>(i), -1, -1,
                                                                "query " + std::to_string(i) + "\nmass kept " + shortNumber(least)};
    }
  }
};

}  // namespace

const View& maskView() {
  static const MaskView view;
  return view;
}

}  // namespace headscope::views
