// Mask studio: a pattern drawn at the prompt's size, the true map under it, mass kept a row beside it, and what it saves.
// options.words: mechanism ("local:window=64"). A click on the pattern draws or erases a block of a block mask.
#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "core/base/error.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/layer_heads.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/softmax_run.h"
#include "views/color_ramp.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/map_sampling.h"
#include "views/mechanism_words.h"
#include "views/view_list.h"

namespace headscope::views {
namespace {

constexpr double kCells = 512;  // a picture is at most this many cells a side

struct MaskData : ViewData {
  std::string mechanism, refusal, modelName;
  core::HeadRef head;
  int64_t count = 0, step = 1;  // N, tokens a cell
  core::Matrix pattern, truth;  // [cells, cells]: share of the cell's pairs that are seen; largest true weight
  core::MechanismResult result;
  double densePairs = 0, denseOperations = 0;
  MapImageCache patternCache, truthCache;
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
  }
}

/// A window of about a quarter of the prompt where nothing is chosen.
std::string maskOf(const ViewInput& input, const core::ViewOptions& options) {
  int64_t window = 4;
  while (input.trace && window < 64 && window * 8 <= input.trace->count()) window *= 2;
  return mechanismOf(options, "local:window=" + std::to_string(window));
}

class MaskView : public View {
 public:
  std::string_view name() const override { return "mask"; }
  std::string_view title() const override { return "Mask studio"; }
  bool isPerHead() const override { return true; }
  std::string subject(const ViewInput& input) const override { return headName(input.selection) + ", " + maskOf(input, input.options); }

  std::string dataKey(const ViewInput& input, Size) const override {
    if (!input.trace) return {};
    return "mask:" + std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + headName(input.selection) + ":" +
           maskOf(input, input.options);
  }

  std::shared_ptr<const ViewData> compute(const ViewInput& input, Size, core::Job& job) const override {
    auto data = std::make_shared<MaskData>();
    data->mechanism = maskOf(input, input.options);
    data->head = input.selection.ref();
    data->modelName = input.trace->model().name();
    data->count = input.trace->count();
    data->step = int64_t{1} << levelFor(static_cast<double>(data->count), kCells);
    try {
      const auto mechanism = core::parseMechanism(data->mechanism);
      const core::LayerHeads layer(input.trace, data->head.layer, job);
      const core::HeadInput head = layer.input(data->head.head);
      const std::shared_ptr<const core::Mechanism> both[] = {core::parseMechanism("dense"), mechanism};
      core::ComparisonOptions options;
      options.keepsRows = true;
      auto results = core::compareMechanisms(head, layer.outputWeight(data->head.head), both, options, job);
      data->densePairs = results[0].cost.keptPairs;
      data->denseOperations = results[0].cost.operations;
      data->result = std::move(results[1]);
      data->refusal = data->result.refusal;
      if (data->refusal.empty()) fillPictures(head, *mechanism, *data, job);
    } catch (const core::Error& e) {
      data->refusal = e.what();
    }
    return data;
  }

  Figure draw(const ViewInput& input, const ViewData* data, const ViewFrame& frame) const override {
    if (!input.trace) return emptyFigure(frame.size, "An attention pattern over this prompt", "Open a model and run a prompt", frame.theme);
    const auto* mask = dynamic_cast<const MaskData*>(data);
    if (mask == nullptr) return emptyFigure(frame.size, maskOf(input, input.options), "Computing", frame.theme);
    if (!mask->refusal.empty()) return emptyFigure(frame.size, mask->refusal, "Choose another mechanism", frame.theme);
    return drawMask(*mask, input.options, frame);
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

  bool handle(const Gesture& gesture, const ViewInput& input, Size, core::ViewOptions& options, core::Selection& selection) const override {
    if (gesture.kind != Gesture::Kind::Click || gesture.pick.kind != Pick::Kind::Cell || !input.trace) return false;
    const std::string text = maskOf(input, options);
    if (text.rfind("block", 0) != 0) {
      selection.query = gesture.pick.a;
      selection.key = gesture.pick.b;
      return true;
    }
    options.words["mechanism"] = toggledBlock(text, gesture.pick.a, gesture.pick.b);
    return true;
  }

 private:
  /// "block:size=16,blocks=..." with the block of this pair added, or taken away where it was drawn.
  static std::string toggledBlock(const std::string& text, int64_t query, int64_t key) {
    std::string spelled = core::parseMechanism(text)->spelled();
    const size_t size = spelled.find("size="), blocks = spelled.find("blocks=");
    const int64_t side = std::max<int64_t>(1, std::strtoll(spelled.c_str() + size + 5, nullptr, 10));
    const std::string pair = std::to_string(query / side) + "." + std::to_string(key / side);
    std::string list = "+" + spelled.substr(blocks + 7) + "+";
    const size_t at = list.find("+" + pair + "+");
    list = at == std::string::npos ? list + pair + "+" : list.erase(at, pair.size() + 1);
    const std::string kept = list.size() > 1 ? list.substr(1, list.size() - 2) : std::string();
    return spelled.substr(0, blocks + 7) + (kept.empty() ? "none" : kept);
  }

  static void addPicture(Figure& figure, const Rect& plot, const MaskData& data, bool isPattern, const core::ViewOptions& options,
                         const ViewFrame& frame) {
    const Theme& t = frame.theme;
    const core::Matrix& values = isPattern ? data.pattern : data.truth;
    ValueScale scale = isPattern ? ValueScale{core::ColorScale::Linear, 0, 1, false}
                                 : scaleFor(options, values, options.hideFirst && values.cols() > 1 ? 1 : 0);
    if (isPattern && data.step > 1) scale.high = 1;
    const double cells = static_cast<double>(values.rows());
    figure.add(
        textAt({plot.x, plot.y - t.gap / 2}, isPattern ? "pattern" : "true map", t.small(), t.inkSecond, AnchorX::Left, AnchorY::Bottom));
    addMap(figure, plot, values, {0, cells, 0, cells}, scale, attentionRamp(t), isPattern ? data.patternCache : data.truthCache, t,
           frame.isPaper);
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
    const double strip = 56, top = t.gap * 2 + t.smallSize * 1.4, line = t.smallSize * 1.6;
    const double below = line * 4 + t.gap * 2;
    const double width = (frame.size.width - 5 * t.gap - strip) / 2;
    const double side = std::max(24.0, frame.size.height > 0 ? std::min(width, frame.size.height - top - below) : width);
    figure.size = {frame.size.width, frame.size.height > 0 ? frame.size.height : top + side + below};
    const Rect pattern{t.gap, top, side, side}, truth{pattern.right() + 2 * t.gap, top, side, side};
    addPicture(figure, pattern, data, true, options, frame);
    addPicture(figure, truth, data, false, options, frame);
    addMassStrip(figure, {truth.right() + t.gap, top, strip, side}, data, t);
    const core::MechanismResult& r = data.result;
    const double density = r.cost.keptPairs / std::max(1.0, data.densePairs);
    const std::vector<std::string> lines{
        data.mechanism,
        "density " + shortNumber(100 * density) + " %   output error " + shortNumber(r.errors.output) + "   mass kept " +
            shortNumber(r.errors.meanMassKept) + "   KL " + shortNumber(r.errors.meanKl) + " nats   cosine " +
            shortNumber(r.errors.meanCosine),
        "work " + bigNumber(r.cost.operations) + " of " + bigNumber(data.denseOperations) + " operations (" +
            shortNumber(100 * r.cost.operations / data.denseOperations) + " %)   weights kept " + bigNumber(r.cost.keptPairs) + " of " +
            bigNumber(data.densePairs) +
            (r.errors.emptyRows.empty() ? "" : "   " + std::to_string(r.errors.emptyRows.size()) + " rows with nothing left"),
        joined(r.notes)};
    for (size_t i = 0; i < lines.size(); ++i) {
      TextItem text = textAt({t.gap, top + side + t.gap + line * static_cast<double>(i)}, lines[i], i == 0 ? t.mono() : t.small(),
                             i == 0   ? t.ink
                             : i == 3 ? t.warning
                                      : t.inkSecond,
                             AnchorX::Left, AnchorY::Top);
      text.maxWidth = frame.size.width - 2 * t.gap;
      figure.add(std::move(text));
    }
    figure.caption = "Head " + headName(data.head) + " of " + data.modelName + " under " + data.mechanism + ", " +
                     std::to_string(data.count) + " tokens: pattern, true map and the true mass that it keeps in each row. Density " +
                     shortNumber(density) + ", output error " + shortNumber(r.errors.output) + "." +
                     (r.notes.empty() ? "" : " Note: " + joined(r.notes) + ".");
    return figure;
  }

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
