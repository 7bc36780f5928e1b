#include "core/attention/rollout.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <vector>

#include "core/attention/attention_map.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int64_t kBlockEntries = int64_t{1} << 20;  // of all heads' rows held at once

/// Rows [first, first + count) of S = 0.5 A + 0.5 I, rows normalised: [count, N].
std::vector<double> stepRows(const std::shared_ptr<const Trace>& trace, int64_t layer, int64_t first, int64_t count, Job& job) {
  const int64_t heads = trace->spec().heads, n = trace->count();
  std::vector<Matrix> tiles(static_cast<size_t>(heads));  // [count, N] each
  parallelFor(
      heads,
      [&](int64_t head) {
        const AttentionMap map(trace, {layer, head});
        tiles[static_cast<size_t>(head)] = map.tile({0, first, count, 0, n, Pooling::Max}, job);
      },
      &job);
  std::vector<double> rows(static_cast<size_t>(count * n));
  for (int64_t i = 0; i < count; ++i) {
    double* row = rows.data() + i * n;
    double sum = 0;
    for (const Matrix& tile : tiles) {
      for (int64_t j = 0; j < n; ++j) row[j] += tile(i, j);
    }
    for (int64_t j = 0; j < n; ++j) row[j] *= 0.5 / static_cast<double>(heads);
    row[first + i] += 0.5;
    for (int64_t j = 0; j < n; ++j) sum += row[j];
    for (int64_t j = 0; j < n; ++j) row[j] /= sum;
  }
  return rows;
}

}  // namespace

Matrix attentionRollout(const std::shared_ptr<const Trace>& trace, int64_t query, Job& job) {
  const int64_t layers = trace->layersRun(), n = trace->count();
  assert(query >= 0 && query < n);
  const int64_t block = std::clamp<int64_t>(kBlockEntries / std::max<int64_t>(1, trace->spec().heads * n), 1, n);
  // Row vectors are carried from the top layer down; the one that starts at layer l joins when its layer's turn comes.
  std::vector<double> carried(static_cast<size_t>(layers * n)), next;  // [layers, N]
  for (int64_t layer = layers - 1; layer >= 0; --layer) {
    carried[static_cast<size_t>(layer * n + query)] = 1;
    next.assign(carried.size(), 0.0);
    for (int64_t first = 0; first < n; first += block) {
      job.checkpoint();
      const int64_t count = std::min(block, n - first);
      if (layer == layers - 1 && (query < first || query >= first + count)) continue;  // only one row counts there
      const std::vector<double> rows = stepRows(trace, layer, first, count, job);
      for (int64_t start = layer; start < layers; ++start) {
        double* out = next.data() + start * n;
        for (int64_t i = 0; i < count; ++i) {
          const double share = carried[static_cast<size_t>(start * n + first + i)];
          if (share == 0) continue;
          for (int64_t j = 0; j < n; ++j) out[j] += share * rows[static_cast<size_t>(i * n + j)];
        }
      }
    }
    carried.swap(next);
    job.report(static_cast<double>(layers - layer) / static_cast<double>(layers), "layer " + std::to_string(layer));
  }
  Matrix out(layers, n);
  std::copy(carried.begin(), carried.end(), out.data());
  return out;
}

}  // namespace headscope::core
