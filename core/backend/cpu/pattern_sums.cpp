// Sums of weights at listed places: single dots where few keys are listed, whole tiles where most of a block is.
#include <algorithm>
#include <vector>

#include "core/backend/cpu/attention_kernels.h"
#include "core/backend/cpu/dot.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

constexpr int64_t kQueries = 64, kKeys = 512;

double sumByDots(const HeadView& head, float logSumExp, int64_t query, std::span<const int32_t> keys) {
  const float scale = static_cast<float>(head.rule.scale), cap = static_cast<float>(head.rule.softcap);
  const int64_t low = head.rule.firstKey(query), high = head.rule.endKey(query, head.count());
  double sum = 0;
  for (const int32_t key : keys) {
    if (key < low || key >= high) continue;
    float s = scale * dot(head.query.row(query), head.key.row(key), head.query.cols);
    if (cap > 0) s = cap * hyperbolicTangent(s / cap);
    sum += exponential(s - logSumExp);
  }
  return sum;
}

std::span<const int32_t> keysOf(const RowPattern& pattern, int64_t row) {
  const int64_t begin = pattern.starts[static_cast<size_t>(row)], end = pattern.starts[static_cast<size_t>(row) + 1];
  return {pattern.cols.data() + begin, static_cast<size_t>(end - begin)};
}

/// Rows [first, first + rows) of the pattern by whole tiles of weights.
void sumByTiles(const HeadView& head, const float* logSumExp, const RowPattern& pattern, int64_t first, int64_t rows, float* out,
                Job& job) {
  Matrix tile(rows, kKeys);
  std::vector<double> sums(static_cast<size_t>(rows), 0.0);
  std::vector<size_t> next(static_cast<size_t>(rows), 0);
  const int64_t query = pattern.firstRow + first;
  const KeyRange seen = visibleKeys(head.rule, query, rows, head.count());
  for (int64_t key = seen.begin; key < seen.end; key += kKeys) {
    job.checkpoint();
    const int64_t width = std::min(kKeys, seen.end - key);
    weightTile(head, logSumExp, query, rows, key, width, tile.data(), kKeys);
    for (int64_t r = 0; r < rows; ++r) {
      const std::span<const int32_t> keys = keysOf(pattern, first + r);
      size_t& i = next[static_cast<size_t>(r)];
      while (i < keys.size() && keys[i] < key) ++i;
      double sum = 0;
      for (; i < keys.size() && keys[i] < key + width; ++i) sum += tile(r, keys[i] - key);
      sums[static_cast<size_t>(r)] += sum;
    }
  }
  for (int64_t r = 0; r < rows; ++r) out[first + r] = static_cast<float>(sums[static_cast<size_t>(r)]);
}

}  // namespace

Matrix patternSums(const LayerView& layer, ConstMatrixView logSumExp, const RowPattern& pattern, Job& job) {
  const int64_t rows = pattern.rows(), blocks = (rows + kQueries - 1) / kQueries;
  Matrix sums(layer.rule.heads, rows);
  parallelFor(
      layer.rule.heads * blocks,
      [&](int64_t i) {
        const int64_t h = i / blocks, first = (i % blocks) * kQueries, count = std::min(kQueries, rows - first);
        const HeadView head = layer.head(h);
        const int64_t listed = pattern.starts[static_cast<size_t>(first + count)] - pattern.starts[static_cast<size_t>(first)];
        const KeyRange seen = visibleKeys(layer.rule, pattern.firstRow + first, count, layer.count());
        // A dot costs several times a tile's entry
        if (listed * 8 > count * (seen.end - seen.begin)) {
          sumByTiles(head, logSumExp.row(h), pattern, first, count, sums.row(h), job);
          return;
        }
        for (int64_t r = first; r < first + count; ++r) {
          const int64_t query = pattern.firstRow + r;
          sums(h, r) = static_cast<float>(sumByDots(head, logSumExp(h, query), query, keysOf(pattern, r)));
        }
      },
      &job);
  return sums;
}

}  // namespace headscope::core::cpu
