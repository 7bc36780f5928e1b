#include "views/figure/imgui_sink_fill.h"

#include <imgui.h>

#include <algorithm>
#include <numeric>

namespace headscope::views {
namespace {

double cross(Point a, Point b, Point c) { return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x); }

bool isInside(Point p, Point a, Point b, Point c) { return cross(a, b, p) >= 0 && cross(b, c, p) >= 0 && cross(c, a, p) >= 0; }

}  // namespace

std::vector<size_t> earClip(const std::vector<Point>& points) {
  std::vector<size_t> triangles;
  if (points.size() < 3) return triangles;
  std::vector<size_t> ring(points.size());
  std::iota(ring.begin(), ring.end(), size_t{0});
  double area = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    const Point &a = points[i], &b = points[(i + 1) % points.size()];
    area += a.x * b.y - b.x * a.y;
  }
  if (area < 0) std::reverse(ring.begin(), ring.end());
  while (ring.size() > 3) {
    bool isClipped = false;
    for (size_t i = 0; i < ring.size(); ++i) {
      const size_t before = ring[(i + ring.size() - 1) % ring.size()], tip = ring[i], after = ring[(i + 1) % ring.size()];
      if (cross(points[before], points[tip], points[after]) <= 0) continue;
      bool isEar = true;
      for (const size_t other : ring) {
        if (other == before || other == tip || other == after) continue;
        if (isInside(points[other], points[before], points[tip], points[after])) {
          isEar = false;
          break;
        }
      }
      if (!isEar) continue;
      triangles.insert(triangles.end(), {before, tip, after});
      ring.erase(ring.begin() + static_cast<std::ptrdiff_t>(i));
      isClipped = true;
      break;
    }
    if (!isClipped) ring.erase(ring.begin());  // flat or self-crossing: drop a point rather than loop for ever
  }
  triangles.insert(triangles.end(), ring.begin(), ring.end());
  return triangles;
}

void fillPolygon(ImDrawList& list, const std::vector<Point>& points, Point origin, Color color) {
  const std::vector<size_t> triangles = earClip(points);
  const ImU32 fill = IM_COL32(color.r, color.g, color.b, color.a);
  const auto at = [&](size_t i) { return ImVec2(static_cast<float>(points[i].x + origin.x), static_cast<float>(points[i].y + origin.y)); };
  const ImDrawListFlags flags = list.Flags;
  list.Flags &= ~ImDrawListFlags_AntiAliasedFill;  // soft edges between neighbouring triangles would show as seams
  for (size_t t = 0; t + 2 < triangles.size(); t += 3)
    list.AddTriangleFilled(at(triangles[t]), at(triangles[t + 1]), at(triangles[t + 2]), fill);
  list.Flags = flags;
}

}  // namespace headscope::views
