#include "views/head_grid.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"

namespace headscope::views {
namespace {

constexpr double kSmallestCell = 28, kLargestCell = 96;
/// All heads at a glance are worth smaller cells; only where not even these fit is a part shown, in cells of kSmallestCell.
constexpr double kSmallestOfAll = 14;

std::string headTip(core::HeadRef head, const core::HeadScores* scores, const std::string& mechanism = {}) {
  std::string tip = "Head " + headName(head) + replacedWords(mechanism);
  if (scores == nullptr) return tip;
  static const std::pair<const char*, const char*> kShown[] = {
      {"previous", "previous token"}, {"induction", "induction"}, {"first", "first token"}, {"entropy", "entropy, bits"}};
  for (const auto& [name, words] : kShown) {
    if (scores->has(name) && head.layer < scores->layers()) tip += std::string("\n") + words + "  " + shortNumber(scores->at(name, head));
  }
  return tip;
}

struct Grid {
  const ViewFrame& frame;
  HeadGridLayout layout;
  Figure figure;

  Grid(int64_t layers, int64_t heads, const core::ViewOptions& options, const ViewFrame& f)
      : frame(f), layout(layOutHeadGrid(layers, heads, options, f.size, f.isPaper)) {
    figure.background = f.theme.canvas;
    figure.title = "Head grid";
    const double height = layout.top + static_cast<double>(layers) * (layout.cell + layout.gap) + (f.isPaper ? 0 : f.theme.gap);
    figure.size = {f.size.width, f.size.height > 0 ? f.size.height : height};
  }

  void addLabels(bool isSorted) {
    const Theme& t = frame.theme;
    const Font font = t.small();
    const int64_t step = labelStep(layout.cell + layout.gap, t.smallSize * 1.9);
    for (int64_t row = layout.firstLayer; row < layout.firstLayer + layout.layers; ++row) {
      const Rect cell = layout.cellAt(row, layout.firstHead);
      if ((row - layout.firstLayer) % labelStep(layout.cell + layout.gap, t.smallSize * 1.2) == 0)
        figure.add(textAt({cell.x - t.gap, cell.center().y}, std::to_string(row), font, t.inkSecond, AnchorX::Right, AnchorY::Middle));
    }
    const Rect first = layout.cellAt(layout.firstLayer, layout.firstHead);
    if (isSorted) {
      figure.add(textAt({first.x, first.y - t.gap / 2}, "highest first", font, t.inkSecond, AnchorX::Left, AnchorY::Bottom));
      return;
    }
    for (int64_t col = layout.firstHead; col < layout.firstHead + layout.heads; ++col) {
      const Rect cell = layout.cellAt(layout.firstLayer, col);
      if (col % step == 0)
        figure.add(textAt({cell.center().x, cell.y - t.gap / 2}, std::to_string(col), font, t.inkSecond, AnchorX::Center, AnchorY::Bottom));
    }
  }

  bool isVisible(int64_t row, int64_t col) const {
    return row >= layout.firstLayer && row < layout.firstLayer + layout.layers && col >= layout.firstHead &&
           col < layout.firstHead + layout.heads;
  }

  void outline(const Rect& cell, Color color, double width) {
    figure.addOverlay(RectItem{cell.inset(-width / 2 - 0.5), kTransparent, color, width, 1.5});
  }
};

bool isSignedAt(const HeadGridData& data, size_t index) { return !data.isSigned.empty() && data.isSigned[index]; }

/// "; 12 heads under local:window=64" for the caption; mechanisms of one name once.
std::string replacedHeads(const HeadGridData& data) {
  std::map<std::string, int64_t> counts;
  for (const std::string& mechanism : data.mechanisms) {
    if (!mechanism.empty()) ++counts[mechanism];
  }
  std::string text;
  for (const auto& [mechanism, count] : counts)
    text += "; " + (count == data.layers * data.heads ? std::string("all") : std::to_string(count)) + (count == 1 ? " head" : " heads") +
            replacedWords(mechanism);
  return text;
}

ValueScale scaleOf(const HeadGridData& data, size_t index, const core::ViewOptions& options) {
  ValueScale scale{options.scale, 0, 1, options.limits.has_value()};
  if (options.limits)
    scale.low = options.limits->first, scale.high = options.limits->second;
  else
    scale.high = options.hideFirst ? data.limits[index] : data.limitsAll[index];
  if (!(scale.high > 0)) scale.high = 1;
  if (isSignedAt(data, index)) scale.isSigned = true, scale.low = 0;
  return scale;
}

}  // namespace

std::vector<std::vector<int64_t>> headOrder(int64_t layers, int64_t heads, const core::HeadScores* scores, const std::string& sortBy) {
  std::vector<std::vector<int64_t>> order(static_cast<size_t>(layers), std::vector<int64_t>(static_cast<size_t>(heads)));
  for (auto& row : order) std::iota(row.begin(), row.end(), 0);
  if (scores == nullptr || sortBy.empty() || !scores->has(sortBy)) return order;
  for (int64_t layer = 0; layer < std::min(layers, scores->layers()); ++layer) {
    const auto value = [&](int64_t head) {
      const double v = scores->at(sortBy, {layer, head});
      return std::isnan(v) ? -1e300 : v;
    };
    std::stable_sort(order[static_cast<size_t>(layer)].begin(), order[static_cast<size_t>(layer)].end(),
                     [&](int64_t a, int64_t b) { return value(a) > value(b); });
  }
  return order;
}

Rect HeadGridLayout::cellAt(int64_t row, int64_t col) const {
  return {left + static_cast<double>(col - firstHead) * (cell + gap), top + static_cast<double>(row - firstLayer) * (cell + gap), cell,
          cell};
}

HeadGridLayout layOutHeadGrid(int64_t layers, int64_t heads, const core::ViewOptions& options, Size size, bool isPaper) {
  HeadGridLayout layout;
  const double n = static_cast<double>(std::max<int64_t>(heads, 1)), rows = static_cast<double>(std::max<int64_t>(layers, 1));
  layout.gap = isPaper ? 1.5 : 3;
  const double left = isPaper ? 14 : 32, top = isPaper ? 12 : 32, right = isPaper ? 1 : 16, bottom = isPaper ? 1 : 16;
  const double fitWidth = (size.width - left - right + layout.gap) / n - layout.gap;
  const double fitHeight = size.height > 0 ? (size.height - top - bottom + layout.gap) / rows - layout.gap : fitWidth;
  const double fit = std::min(fitWidth, fitHeight);
  const double smallest = fit >= kSmallestOfAll ? kSmallestOfAll : kSmallestCell;
  layout.cell = isPaper ? std::max(2.0, fit) : std::clamp(std::floor(fit), smallest, kLargestCell);
  const auto room = [&](double space) {
    return std::max<int64_t>(1, static_cast<int64_t>((space + layout.gap) / (layout.cell + layout.gap)));
  };
  layout.heads = isPaper ? heads : std::min(heads, room(size.width - left - right));
  layout.layers = isPaper || size.height <= 0 ? layers : std::min(layers, room(size.height - top - bottom));
  const auto first = [](double wanted, int64_t all, int64_t shown) {
    return std::isfinite(wanted) ? std::clamp<int64_t>(static_cast<int64_t>(std::clamp(wanted, 0.0, 1e6)), 0, all - shown) : 0;
  };
  layout.firstHead = first(options.firstCol, heads, layout.heads);
  layout.firstLayer = first(options.firstRow, layers, layout.layers);
  const double used = static_cast<double>(layout.heads) * (layout.cell + layout.gap) - layout.gap;
  layout.left = isPaper ? left : std::max(left, (size.width - used + left - right) / 2);
  const double high = static_cast<double>(layout.layers) * (layout.cell + layout.gap) - layout.gap;
  layout.top = isPaper || size.height <= 0 ? top : std::max(top, std::round((size.height - high + top - bottom) / 2));
  return layout;
}

void addHiddenNote(Figure& figure, const HeadGridLayout& layout, int64_t layers, int64_t heads, const ViewFrame& frame) {
  const auto part = [](const char* name, int64_t first, int64_t shown, int64_t all) {
    return shown < all
               ? std::string(name) + " " + std::to_string(first) + " to " + std::to_string(first + shown - 1) + " of " + std::to_string(all)
               : std::string();
  };
  const std::string rows = part("layers", layout.firstLayer, layout.layers, layers),
                    columns = part("heads", layout.firstHead, layout.heads, heads);
  if (rows.empty() && columns.empty()) return;
  const Theme& t = frame.theme;
  const std::string text = rows + (rows.empty() || columns.empty() ? "" : ", ") + columns + "; the wheel shows others";
  const double room = figure.size.width - layout.left - t.gap;
  figure.add(textAt({layout.left, figure.size.height - t.gap / 4}, elide(text, t.small(), room, frame.measure), t.small(), t.inkSecond,
                    AnchorX::Left, AnchorY::Bottom));
}

Figure drawHeadGrid(const HeadGridData& data, const core::ViewOptions& options, const core::Selection& selection,
                    const core::HeadScores* scores, const ViewFrame& frame) {
  Grid grid(data.layers, data.heads, options, frame);
  const Theme& t = frame.theme;
  const bool isSorted = scores != nullptr && !options.sortBy.empty() && scores->has(options.sortBy);
  grid.addLabels(isSorted);
  const ColorRamp ramp = attentionRamp(t), diverging = divergingRamp(t);
  const auto order = headOrder(data.layers, data.heads, scores, options.sortBy);
  for (int64_t row = grid.layout.firstLayer; row < grid.layout.firstLayer + grid.layout.layers; ++row) {
    for (int64_t col = grid.layout.firstHead; col < grid.layout.firstHead + grid.layout.heads; ++col) {
      const core::HeadRef head{row, order[static_cast<size_t>(row)][static_cast<size_t>(col)]};
      const auto index = static_cast<size_t>(head.layer * data.heads + head.head);
      const Rect cell = grid.layout.cellAt(row, col);
      const core::Matrix& map = data.maps[index];
      if (map.size() > 0) {
        const int pooling = frame.isPaper ? 0 : poolingFor(static_cast<double>(map.cols()), cell.width);
        const MapImageCache::Entry entry =
            data.caches[index].get({scaleOf(data, index, options), t.isDark, pooling}, map, isSignedAt(data, index) ? diverging : ramp);
        if (entry.hasNan) grid.figure.add(HatchItem{cell, t.inkSecond.withAlpha(0.6)});
        grid.figure.add(ImageItem{cell, entry.image, false});
      } else {
        grid.figure.add(HatchItem{cell, t.line});
      }
      grid.figure.add(RectItem{cell, kTransparent, t.line, 0}).pick = {
          Pick::Kind::Head, head.layer, head.head, -1,
          headTip(head, scores, data.mechanisms.empty() ? std::string() : data.mechanisms[index])};
      if (isSorted && grid.layout.cell >= 2.4 * t.smallSize) {
        grid.figure.add(
            textAt({cell.right() - 3, cell.y + 2}, std::to_string(head.head), t.small(), t.inkSecond, AnchorX::Right, AnchorY::Top));
      }
      if (frame.isPaper) continue;
      const bool isBrushed = std::find(selection.brushed.begin(), selection.brushed.end(), head) != selection.brushed.end();
      if (isBrushed) grid.figure.addOverlay(RectItem{cell, t.accent.withAlpha(0.12)});
      if (isBrushed) grid.outline(cell, t.accent, 1);
      if (head == core::HeadRef{frame.hover.layer, frame.hover.head}) grid.outline(cell, t.inkSecond, 1);
      if (head == selection.ref()) grid.outline(cell, t.accent, 2);
    }
  }
  addHiddenNote(grid.figure, grid.layout, data.layers, data.heads, frame);
  const bool hasSigned = std::find(data.isSigned.begin(), data.isSigned.end(), true) != data.isSigned.end();
  grid.figure.caption = "Attention maps of all " + std::to_string(data.layers) + " x " + std::to_string(data.heads) + " heads";
  if (!data.modelName.empty()) grid.figure.caption += " of " + data.modelName;
  grid.figure.caption +=
      ": layers down, heads across" + (isSorted ? ", within a layer by " + options.sortBy + ", highest first" : std::string()) +
      "; in each map queries down, keys across" + replacedHeads(data) + ". Colour: " + scaleName(options.scale) +
      (options.limits ? ", " + shortNumber(options.limits->first) + " to " + shortNumber(options.limits->second) + " (locked)"
                      : std::string(", 0 to each head's largest weight")) +
      (hasSigned ? ", signed maps blue where negative, orange where positive" : "") +
      (options.hideFirst && !options.limits ? ", the first token's column left out of the limits." : ".");
  return std::move(grid.figure);
}

Figure drawHeadGridLoading(int64_t layers, int64_t heads, const core::Selection& selection, const ViewFrame& frame) {
  Grid grid(layers, heads, {}, frame);
  const Theme& t = frame.theme;
  grid.addLabels(false);
  const double done = std::clamp(frame.progress, 0.0, 1.0) * static_cast<double>(layers * heads);
  for (int64_t row = grid.layout.firstLayer; row < grid.layout.firstLayer + grid.layout.layers; ++row) {
    for (int64_t col = grid.layout.firstHead; col < grid.layout.firstHead + grid.layout.heads; ++col) {
      const Rect cell = grid.layout.cellAt(row, col);
      const bool isDone = static_cast<double>(row * heads + col) < done;
      grid.figure.add(RectItem{cell, isDone ? t.raised : t.panel, t.line, 0}).pick = {Pick::Kind::Head, row, col, -1,
                                                                                      headTip({row, col}, nullptr)};
      if (core::HeadRef{row, col} == selection.ref()) grid.outline(cell, t.accent, 2);
    }
  }
  return std::move(grid.figure);
}

}  // namespace headscope::views
