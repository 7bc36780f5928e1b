#include "views/figure/imgui_sink.h"

#include <imgui.h>

#include <algorithm>
#include <cmath>

#include "views/figure/imgui_sink_fill.h"

namespace headscope::views {
namespace {

constexpr size_t kPointsAtOnce = 4096;  // indices have 16 bits: a primitive must stay far below 65,536 vertices

ImU32 packed(Color c) { return IM_COL32(c.r, c.g, c.b, c.a); }
ImVec2 toVec(Point p, Point origin) { return {static_cast<float>(p.x + origin.x), static_cast<float>(p.y + origin.y)}; }

}  // namespace

void ImGuiSink::draw(const Figure& figure, ImDrawList& list, Point origin) {
  origin_ = origin;
  const ImVec2 min = toVec({0, 0}, origin), max = toVec({figure.size.width, figure.size.height}, origin);
  list.PushClipRect(min, max, true);
  if (figure.background.a > 0) list.AddRectFilled(min, max, packed(figure.background));
  for (const auto* layer : {&figure.content, &figure.overlay}) {
    for (const Item& item : *layer) drawItem(item, list);
    for (; openClips_ > 0; --openClips_) list.PopClipRect();
  }
  list.PopClipRect();
}

void ImGuiSink::drawItem(const Item& item, ImDrawList& list) {
  std::visit([&](const auto& shape) { (*this)(shape, list); }, item.shape);
}

void ImGuiSink::operator()(const RectItem& item, ImDrawList& list) {
  const ImVec2 min = toVec({item.rect.x, item.rect.y}, origin_), max = toVec({item.rect.right(), item.rect.bottom()}, origin_);
  const float radius = static_cast<float>(item.radius);
  if (item.fill.a > 0) list.AddRectFilled(min, max, packed(item.fill), radius);
  if (item.stroke.a == 0) return;
  // Lines up to a pixel and a half sit on pixel centres, or they smear over two rows.
  const double width = item.strokeWidth > 0 ? item.strokeWidth : hairline(), ratio = fonts_.pixelRatio();
  const bool isThin = width * ratio <= 1.5;
  const auto snapped = [&](float v) { return isThin ? static_cast<float>((std::floor(v * ratio) + 0.5) / ratio) : v; };
  list.PathRect({snapped(min.x), snapped(min.y)}, {snapped(max.x), snapped(max.y)}, radius);
  list.PathStroke(packed(item.stroke), ImDrawFlags_Closed, static_cast<float>(width));
}

void ImGuiSink::operator()(const PolylineItem& item, ImDrawList& list) {
  if (item.points.size() < 2) return;
  std::vector<ImVec2> points;
  points.reserve(item.points.size());
  for (const Point& p : item.points) points.push_back(toVec(p, origin_));
  if (item.isClosed && item.fill.a > 0) fillPolygon(list, item.points, origin_, item.fill);
  if (item.stroke.a == 0) return;
  const float width = static_cast<float>(item.strokeWidth > 0 ? item.strokeWidth : hairline());
  if (item.points.size() == 2 && width * fonts_.pixelRatio() <= 1.5) {  // axis lines and ticks: on pixel centres
    const double ratio = fonts_.pixelRatio();
    const auto centre = [&](float v) { return static_cast<float>((std::floor(v * ratio) + 0.5) / ratio); };
    if (points[0].x == points[1].x) points[0].x = points[1].x = centre(points[0].x);
    if (points[0].y == points[1].y) points[0].y = points[1].y = centre(points[0].y);
  }
  if (item.isClosed && points.size() <= kPointsAtOnce) {
    list.AddPolyline(points.data(), static_cast<int>(points.size()), packed(item.stroke), ImDrawFlags_Closed, width);
    return;
  }
  if (item.isClosed) points.push_back(points.front());
  for (size_t first = 0; first + 1 < points.size(); first += kPointsAtOnce - 1) {
    const size_t count = std::min(kPointsAtOnce, points.size() - first);
    list.AddPolyline(points.data() + first, static_cast<int>(count), packed(item.stroke), ImDrawFlags_None, width);
  }
}

void ImGuiSink::operator()(const CurveItem& item, ImDrawList& list) {
  if (item.stroke.a == 0) return;
  const float width = static_cast<float>(item.strokeWidth > 0 ? item.strokeWidth : hairline());
  list.AddBezierCubic(toVec(item.a, origin_), toVec(item.b, origin_), toVec(item.c, origin_), toVec(item.d, origin_), packed(item.stroke),
                      width);
}

double ImGuiSink::baselineShift(const TextItem& item) {
  // As the sinks for paper do: the middle is that of capitals and figures, which is what looks centred beside a cell.
  switch (item.anchorY) {
    case AnchorY::Top:
      return fonts_.ascent(item.font) * 0.92;
    case AnchorY::Middle:
      return item.font.size_pt * 0.355;
    case AnchorY::Bottom:
      return -fonts_.descent(item.font) * 0.85;
    case AnchorY::Baseline:
      break;
  }
  return 0;
}

void ImGuiSink::operator()(const TextItem& item, ImDrawList& list) {
  std::string text = item.text;
  double width = fonts_.width(text, item.font);
  if (item.maxWidth > 0 && width > item.maxWidth) {
    while (!text.empty() && fonts_.width(text + "…", item.font) > item.maxWidth) {
      do text.pop_back();
      while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80);
      // The lead byte of a multi-byte character whose tail is gone goes too.
      if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.pop_back();
    }
    text += "…";
    width = fonts_.width(text, item.font);
  }
  const double dx = item.anchorX == AnchorX::Left ? 0 : item.anchorX == AnchorX::Center ? -width / 2 : -width;
  const double dy = baselineShift(item);
  const double turn = item.angle_deg * M_PI / 180, c = std::cos(turn), s = std::sin(turn);
  const Point at{item.at.x + origin_.x + dx * c - dy * s, item.at.y + origin_.y + dx * s + dy * c};
  fonts_.draw(list, at, text, item.font, item.color, item.angle_deg);
}

void ImGuiSink::operator()(const ImageItem& item, ImDrawList& list) {
  if (!item.image || item.image->width <= 0 || item.image->height <= 0) return;
  const uintptr_t texture = textures_.textureFor(item.image, item.isSmooth);
  if (texture == 0) return;
  list.AddImage(reinterpret_cast<ImTextureID>(texture), toVec({item.rect.x, item.rect.y}, origin_),
                toVec({item.rect.right(), item.rect.bottom()}, origin_));
}

void ImGuiSink::operator()(const HatchItem& item, ImDrawList& list) {
  const Rect& r = item.rect;
  const double step = 4;
  // Each line x + y = constant; constants are multiples of the step so that neighbouring cells join.
  for (double sum = std::ceil((r.x + r.y) / step) * step; sum < r.right() + r.bottom(); sum += step) {
    const Point low{std::max(r.x, sum - r.bottom()), 0}, high{std::min(r.right(), sum - r.y), 0};
    if (high.x <= low.x) continue;
    list.AddLine(toVec({low.x, sum - low.x}, origin_), toVec({high.x, sum - high.x}, origin_), packed(item.color),
                 static_cast<float>(hairline()));
  }
}

void ImGuiSink::operator()(const ClipItem& item, ImDrawList& list) {
  if (item.rect) {
    list.PushClipRect(toVec({item.rect->x, item.rect->y}, origin_), toVec({item.rect->right(), item.rect->bottom()}, origin_), true);
    ++openClips_;
  } else if (openClips_ > 0) {
    list.PopClipRect();
    --openClips_;
  }
}

}  // namespace headscope::views
