#include "views/head_heat.h"

#include <algorithm>
#include <cmath>

#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/option_values.h"

namespace headscope::views {
namespace {

constexpr int64_t kTipsUnasked = 400;  // cells
constexpr double kThinnest = 0.4;      // points of a cell
constexpr double kFewLayers = 18;      // points that a heat takes at least, where there is room

}  // namespace

HeadHeat layOutHeat(int64_t layers, int64_t heads, const Rect& area, double most, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  HeadHeat heat{layers, heads};
  heat.left = area.x + 1 + frame.measure.width(std::to_string(std::max<int64_t>(layers - 1, 0)), t.small()) + t.gap / 2;
  heat.top = area.y + t.smallSize * 1.4;
  heat.width = std::clamp((area.right() - heat.left) / static_cast<double>(std::max<int64_t>(1, heads)), kThinnest, most);
  const double high = (area.bottom() - heat.top) / static_cast<double>(std::max<int64_t>(1, layers));
  // No taller than wide, but where few layers of many heads would be a hair's breadth.
  const double tall = std::max(heat.width, kFewLayers / static_cast<double>(std::max<int64_t>(1, layers)));
  heat.height = std::clamp(high, kThinnest, std::max(kThinnest, std::min(most, tall)));
  heat.gap = std::min(heat.width, heat.height) > 8 ? 1.0 : std::min(heat.width, heat.height) > 4 ? 0.5 : 0.0;
  return heat;
}

void addHeat(Figure& figure, const HeadHeat& heat, core::ConstMatrixView values, const ValueScale& scale, const ColorRamp& ramp,
             const core::Selection& selection, const ViewFrame& frame, const std::function<std::string(core::HeadRef)>& tipOf,
             int64_t part) {
  const Theme& t = frame.theme;
  for (int64_t l = 0; l < heat.layers; l += labelStep(heat.height, t.smallSize * 1.2)) {
    figure.add(textAt({heat.left - t.gap / 2, heat.at(l, 0).center().y}, std::to_string(l), t.small(), t.inkSecond, AnchorX::Right,
                      AnchorY::Middle));
  }
  for (int64_t h = 0; h < heat.heads; h += labelStep(heat.width, t.smallSize * 1.9)) {
    figure.add(textAt({heat.at(0, h).center().x, heat.top - t.gap / 4}, std::to_string(h), t.small(), t.inkSecond, AnchorX::Center,
                      AnchorY::Bottom));
  }
  // Tooltips cost more than cells: where there are many, only those near the mouse are made.
  const auto hasTip = [&](const Rect& cell) {
    if (frame.isPaper) return false;
    return frame.pointer ? cell.inset(-12).contains(*frame.pointer) : heat.layers * heat.heads <= kTipsUnasked;
  };
  figure.content.push_back(pickArea(heat.cells(), {Pick::Kind::Control, kBrushControl, part, -1, {}}));
  for (int64_t l = 0; l < heat.layers; ++l) {
    for (int64_t h = 0; h < heat.heads; ++h) {
      const core::HeadRef head{l, h};
      const Rect cell = heat.at(l, h);
      const double v = l < values.rows && h < values.cols ? values(l, h) : std::nan("");
      Item& item = std::isnan(v) ? figure.add(HatchItem{cell, t.line})
                                 : figure.add(RectItem{cell, ramp.at(scale.unit(v)), heat.gap > 0 ? t.line : kTransparent, 0});
      item.pick = {Pick::Kind::Head, l, h, part, hasTip(cell) ? tipOf(head) : std::string()};
      if (frame.isPaper) continue;
      if (isBrushed(selection, head)) figure.addOverlay(RectItem{cell, kTransparent, t.accent, 1});
      if (head == core::HeadRef{frame.hover.layer, frame.hover.head}) figure.addOverlay(RectItem{cell.inset(-1), kTransparent, t.ink, 1});
      if (head == selection.ref()) figure.addOverlay(RectItem{cell.inset(-1.5), kTransparent, t.accent, 2});
    }
  }
  // Cells too small for edges of their own: where the heat ends.
  if (heat.gap <= 0) figure.add(RectItem{heat.cells(), kTransparent, t.line, 0});
  addRubberBand(figure, heat.cells(), frame);
}

void addRubberBand(Figure& figure, const Rect& area, const ViewFrame& frame) {
  if (frame.isPaper || !frame.dragFrom || !frame.pointer || !area.contains(*frame.dragFrom)) return;
  const Point a = *frame.dragFrom, b = *frame.pointer;
  const Rect band{std::min(a.x, b.x), std::min(a.y, b.y), std::abs(a.x - b.x), std::abs(a.y - b.y)};
  figure.addOverlay(RectItem{band, frame.theme.accent.withAlpha(0.12), frame.theme.accent, 0});
}

bool brushByDrag(const View::Gesture& gesture, core::Selection& selection) {
  const bool isHere = (gesture.pick.kind == Pick::Kind::Head && gesture.pick.c >= -1) ||
                      (gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == kBrushControl);
  if (!isHere || gesture.kind != View::Gesture::Kind::Drag || gesture.isPan) return false;
  selection.brushed = gesture.heads;
  if (!gesture.heads.empty()) selection.layer = gesture.heads.front().layer, selection.head = gesture.heads.front().head;
  return true;
}

}  // namespace headscope::views
