#pragma once
// TilePlan: a mask as attention_tile.h reads it (ListedKeys): for every block of 64 rows the keys that any of them sees, in order, and a
// bit for each row and key. Keys that no row of a block sees are never read; scattered keys lie side by side. Host code.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/backend/masked_attention.h"
#include "gpu/arithmetic/attention_tile.h"

namespace headscope::gpu {

struct TilePlan {
  std::vector<int64_t> firstColumn{0}, firstTile{0};  // [blocks + 1]
  std::vector<int32_t> columns;                       // of all blocks
  std::vector<uint64_t> masks;                        // [tiles, 64]
  int64_t blocks() const { return static_cast<int64_t>(firstTile.size()) - 1; }
};

namespace detail {

/// Bits [from, to) of row r, of masks [tiles, 64] that begin with bit 0 of the block's first column.
inline void setBits(uint64_t* masks, int64_t r, int64_t from, int64_t to) {
  while (from < to) {
    const int64_t tile = from / kTileSide, low = from % kTileSide, high = std::min<int64_t>(kTileSide, low + to - from);
    const uint64_t below = high == kTileSide ? ~uint64_t{0} : (uint64_t{1} << high) - 1;
    masks[tile * kTileSide + r] |= below & ~((uint64_t{1} << low) - 1);
    from += high - low;
  }
}

}  // namespace detail

/// Of rows [firstRow, firstRow + rows) of the list.
inline TilePlan planTiles(const core::RangeList& seen, int64_t firstRow, int64_t rows) {
  TilePlan plan;
  std::vector<int32_t> change;
  std::vector<int64_t> rank;
  for (int64_t first = firstRow; first < firstRow + rows; first += kTileSide) {
    const int64_t count = std::min<int64_t>(kTileSide, firstRow + rows - first), before = plan.firstColumn.back();
    const core::KeyRange *begin = seen.ranges.data() + seen.begin[static_cast<size_t>(first)],
                         *end = seen.ranges.data() + seen.begin[static_cast<size_t>(first + count)];
    int64_t low = std::numeric_limits<int64_t>::max(), high = 0;
    for (const core::KeyRange* r = begin; r != end; ++r) low = std::min(low, r->first), high = std::max(high, r->end);
    const int64_t span = begin == end ? 0 : high - low;
    change.assign(static_cast<size_t>(span) + 1, 0), rank.assign(static_cast<size_t>(span) + 1, 0);
    for (const core::KeyRange* r = begin; r != end; ++r) {
      ++change[static_cast<size_t>(r->first - low)], --change[static_cast<size_t>(r->end - low)];
    }
    int32_t open = 0;
    for (int64_t c = 0; c < span; ++c) {
      open += change[static_cast<size_t>(c)];
      rank[static_cast<size_t>(c)] = static_cast<int64_t>(plan.columns.size()) - before;
      if (open > 0) plan.columns.push_back(static_cast<int32_t>(low + c));
    }
    const int64_t columns = static_cast<int64_t>(plan.columns.size()) - before, tiles = (columns + kTileSide - 1) / kTileSide;
    const size_t masks = plan.masks.size();
    plan.masks.resize(masks + static_cast<size_t>(tiles * kTileSide), 0);
    for (int64_t r = 0; r < count; ++r) {
      for (size_t i = seen.begin[static_cast<size_t>(first + r)]; i < seen.begin[static_cast<size_t>(first + r) + 1]; ++i) {
        const core::KeyRange& range = seen.ranges[i];
        if (range.first >= range.end) continue;
        const int64_t from = rank[static_cast<size_t>(range.first - low)];  // a range's keys are all listed, so it stays one run
        detail::setBits(plan.masks.data() + masks, r, from, from + range.end - range.first);
      }
    }
    plan.firstColumn.push_back(before + columns);
    plan.firstTile.push_back(plan.firstTile.back() + tiles);
  }
  return plan;
}

}  // namespace headscope::gpu
