#pragma once
// TileRequest: a part of one head's map at a zoom level. Level 0 cells are entries A[i, j]; a cell of level z pools the
// 2^z x 2^z entries from (row << z, col << z) on, those inside the map.
#include <cstdint>

namespace headscope::core {

enum class Pooling { Max, Mean };

/// Part of a map, in cells of `level`.
struct TileRequest {
  int64_t level = 0;
  int64_t firstRow = 0, rows = 0, firstCol = 0, cols = 0;
  Pooling pooling = Pooling::Max;
};

}  // namespace headscope::core
