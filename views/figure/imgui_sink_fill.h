#pragma once
// Filling a simple polygon, convex or not, in a Dear ImGui draw list (which itself fills convex ones only): ear clipping,
// O(n^2) in the points, meant for the outlines of charts. Self-crossing outlines are filled approximately.
#include <vector>

#include "views/figure/figure.h"

struct ImDrawList;

namespace headscope::views {

void fillPolygon(ImDrawList& list, const std::vector<Point>& points, Point origin, Color color);

/// Triangles of the polygon as indices, three each; at most points.size() - 2 of them. For tests.
std::vector<size_t> earClip(const std::vector<Point>& points);

}  // namespace headscope::views
