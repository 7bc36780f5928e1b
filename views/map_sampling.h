#pragma once
// How much of a map a view computes: the zoom level at which a cell is about a pixel, and the part around what is visible,
// aligned so that small pans reuse it.
#include <cstdint>

#include "views/attention_map.h"

namespace headscope::views {

struct MapSampling {
  int64_t level = 0;
  int64_t firstRow = 0, rows = 0, firstCol = 0, cols = 0;  // in cells of the level
  bool operator==(const MapSampling&) const = default;
};

/// The smallest level at which `tokens` tokens take at most `cells` cells.
int64_t levelFor(double tokens, double cells);

/// side: points that the plot takes at most. Maps up to 1,024 tokens are computed whole at level 0.
MapSampling sampleMap(const VisiblePart& part, int64_t count, double side);

}  // namespace headscope::views
