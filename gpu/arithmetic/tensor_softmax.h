#pragma once
// What one lane does to its numbers of a tile of scores between the two products of the tensor-core attention: scale, soft cap and mask,
// then weights relative to the row's maximum so far, and the sums from which the row's statistics follow. A row lies in four lanes; a lane
// has two neighbouring columns of each of eight groups of eight keys, for two rows (half 0 and 1) of a 16-row fragment.
#include "gpu/arithmetic/attention_tile.h"

namespace headscope::gpu {

inline constexpr int kKeyGroups = kTileSide / 8;

/// A lane's part of 16 rows of scores: [group of keys][number of a fragment].
using LaneScores = float[kKeyGroups][4];

/// One row against one tile of keys.
struct TileRow {
  int from, to;         // the tile's columns [from, to) are seen
  float firstDistance;  // query - the tile's first key
};
HEADSCOPE_HD TileRow tileRow(const SpanKeys& keys, int64_t tile, int64_t query) {
  const int64_t first = keys.key(tile, 0);
  TileRow row{0, 0, static_cast<float>(query - first)};
  if (query >= keys.count) return row;
  const KeySpan span = visibleKeys(query, keys.count, keys.isCausal, keys.window);
  row.from = static_cast<int>(span.begin <= first ? 0 : span.begin - first < kTileSide ? span.begin - first : kTileSide);
  row.to = static_cast<int>(span.end <= first ? 0 : span.end - first < kTileSide ? span.end - first : kTileSide);
  return row;
}

/// Raw products into scores, unseen ones into -infinity; the largest of the lane's.
HEADSCOPE_HD float scoreRow(LaneScores& s, int half, int lane, const TileRow& row, float scale, float softcap) {
  float top = -INFINITY;
  HEADSCOPE_UNROLL
  for (int g = 0; g < kKeyGroups; ++g) {
    HEADSCOPE_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int column = g * 8 + (lane & 3) * 2 + j;
      float& score = s[g][2 * half + j];
      score = column >= row.from && column < row.to ? softCapped(score * scale, softcap) : -INFINITY;
      top = LargerOf{}(top, score);
    }
  }
  return top;
}

/// Scores into weights relative to `top`, the row's maximum with this tile; returns the factor by which the output so far shrinks.
/// sums.max is the row's, its sums are of this lane's columns.
HEADSCOPE_HD float weighRow(LaneScores& s, int half, int lane, const TileRow& row, float top, SoftmaxRow& sums) {
  float factor = 1.0f;
  if (top != sums.max) {
    const bool isFirst = sums.max == -INFINITY;  // nothing seen yet
    factor = isFirst ? 0.0f : expf(sums.max - top);
    sums.scoreSum = isFirst ? 0.0f : factor * (sums.scoreSum + sums.sum * (sums.max - top));
    sums.sum *= factor, sums.distanceSum *= factor, sums.max = top;
  }
  const float shift = top == -INFINITY ? 0.0f : top;  // nothing seen: exp(-inf - 0) is 0
  float sum = 0.0f, scores = 0.0f, distances = 0.0f;
  HEADSCOPE_UNROLL
  for (int g = 0; g < kKeyGroups; ++g) {
    HEADSCOPE_UNROLL
    for (int j = 0; j < 2; ++j) {
      const float shifted = s[g][2 * half + j] - shift, weight = expf(shifted);
      sum += weight;
      scores += weight > 0.0f ? weight * shifted : 0.0f;
      distances += weight * fabsf(row.firstDistance - static_cast<float>(g * 8 + (lane & 3) * 2 + j));
      s[g][2 * half + j] = weight;
    }
  }
  sums.sum += sum, sums.scoreSum += scores, sums.distanceSum += distances;
  return factor;
}

}  // namespace headscope::gpu
