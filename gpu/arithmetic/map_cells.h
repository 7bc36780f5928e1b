#pragma once
// How a map is cut for pooling. Cell c of level z holds the entries [c 2^z, (c + 1) 2^z) that are inside the map.
#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

/// Entries along one side of a cell.
HEADSCOPE_HD long long cellExtent(long long cell, long long level, long long count) {
  const long long first = cell << level, end = (cell + 1) << level;
  return (end < count ? end : count) - first;
}

/// Rows worked on at once: a power of two, so that a block holds whole cells or lies inside one; at most `most` and such that
/// rows * keys numbers fit in `numbers`.
HEADSCOPE_HD long long rowsAtOnce(long long most, long long keys, long long numbers) {
  long long rows = 1;
  while (rows * 2 <= most && rows * 2 * keys <= numbers) rows *= 2;
  return rows;
}

/// Keys [begin, end) of a tile that the rows of a block may see, begun on the first key of a cell; empty when begin == end.
struct KeyRange {
  long long begin, end;
};
HEADSCOPE_HD KeyRange tileKeys(long long tileFirst, long long tileEnd, long long seenFirst, long long seenEnd, long long level) {
  const long long begin = seenFirst > tileFirst ? tileFirst + (((seenFirst - tileFirst) >> level) << level) : tileFirst;
  const long long end = seenEnd < tileEnd ? seenEnd : tileEnd;
  return begin < end ? KeyRange{begin, end} : KeyRange{tileFirst, tileFirst};
}

}  // namespace headscope::gpu
