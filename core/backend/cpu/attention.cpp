// Attention of all heads by blocks of 64 queries and 256 keys with an online softmax (Milakov and Gimelshein 2018; Dao 2022):
// a running maximum and sums relative to it, rescaled when the maximum grows. Masked key blocks are never touched.
#include <cblas.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/backend/cpu/attention_kernels.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

constexpr int64_t kQueries = 64, kKeys = 256;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// Of one row so far, relative to `max`: p = exp(score - max).
struct RowState {
  float max = kMinusInfinity;
  double sum = 0;       // sum p
  double energy = 0;    // sum p (score - max)
  double distance = 0;  // sum p |i - j|
};

float largest(const float* row, int64_t count) {
  float m = kMinusInfinity;
#pragma omp simd reduction(max : m)
  for (int64_t c = 0; c < count; ++c) m = row[c] > m ? row[c] : m;
  return m;
}

/// Turns the visible scores into p, adds their sums to the state and returns the factor that earlier sums shrank by.
float absorb(float* row, int64_t count, int64_t firstKey, int64_t query, RowState& state) {
  const float max = std::max(state.max, largest(row, count));
  // All scores minus infinity or NaN so far: shift by 0, so that exp gives 0 or NaN and not NaN for both
  const float shift = max == kMinusInfinity ? 0.0f : max;
  float sum = 0, energy = 0, distance = 0;
  const float offset = static_cast<float>(firstKey - query);
#pragma omp simd reduction(+ : sum, energy, distance)
  for (int64_t c = 0; c < count; ++c) {
    const float s = row[c] - shift;
    const float p = exponential(s);
    const float d = static_cast<float>(static_cast<int32_t>(c)) + offset;
    row[c] = p;
    sum += p;
    energy += p > 0 ? p * s : 0.0f;
    distance += p * (d < 0 ? -d : d);
  }
  const double factor = state.sum > 0 ? std::exp(static_cast<double>(state.max) - max) : (std::isnan(state.sum) ? state.sum : 0.0);
  const double shrunk = state.sum > 0 ? static_cast<double>(state.max) - max : 0.0;
  state.energy = factor * (state.energy + state.sum * shrunk) + energy;
  state.distance = factor * state.distance + distance;
  state.sum = factor * state.sum + sum;
  state.max = max;
  return static_cast<float>(factor);
}

/// out [queries, v] = factor * out + p V, row by row factors.
void accumulate(const HeadView& head, const float* p, int64_t queries, int64_t firstKey, int64_t keys, const float* factors, bool isFirst,
                MatrixView out) {
  if (!isFirst) {
    for (int64_t r = 0; r < queries; ++r) {
      if (factors[r] == 1.0f) continue;
      float* row = out.row(r);
#pragma omp simd
      for (int64_t c = 0; c < out.cols; ++c) row[c] *= factors[r];
    }
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(queries), static_cast<int>(out.cols), static_cast<int>(keys),
              1.0f, p, static_cast<int>(kKeys), head.value.row(firstKey), static_cast<int>(head.value.stride), isFirst ? 0.0f : 1.0f,
              out.data, static_cast<int>(out.stride));
}

void finishRow(const RowState& state, int64_t head, int64_t query, float* out, int64_t width, const StatisticsView& rows) {
  const float inverse = static_cast<float>(1.0 / state.sum);
#pragma omp simd
  for (int64_t c = 0; c < width; ++c) out[c] *= inverse;
  rows.max(head, query) = state.max;
  rows.logSumExp(head, query) = static_cast<float>(state.max + std::log(state.sum));
  rows.entropy(head, query) = static_cast<float>((std::log(state.sum) - state.energy / state.sum) / std::log(2.0));
  rows.distance(head, query) = static_cast<float>(state.distance / state.sum);
}

void attendBlock(const HeadView& head, int64_t headIndex, int64_t firstQuery, int64_t queries, MatrixView out, const StatisticsView& rows,
                 Job& job) {
  Matrix tile(queries, kKeys);
  std::array<RowState, kQueries> states;
  std::array<float, kQueries> factors;
  const KeyRange seen = visibleKeys(head.rule, firstQuery, queries, head.count());
  for (int64_t firstKey = seen.begin; firstKey < seen.end; firstKey += kKeys) {
    job.checkpoint();
    const int64_t keys = std::min(kKeys, seen.end - firstKey);
    scoreTile(head, firstQuery, queries, firstKey, keys, tile.data(), kKeys);
    for (int64_t r = 0; r < queries; ++r) {
      const int64_t query = firstQuery + r;
      const int64_t low = std::clamp<int64_t>(head.rule.firstKey(query) - firstKey, 0, keys);
      const int64_t high = std::clamp<int64_t>(head.rule.endKey(query, head.count()) - firstKey, low, keys);
      float* row = tile.row(r);
      std::fill_n(row, low, 0.0f);
      std::fill(row + high, row + keys, 0.0f);
      const size_t s = static_cast<size_t>(r);
      factors[s] = low < high ? absorb(row + low, high - low, firstKey + low, query, states[s]) : 1.0f;
    }
    accumulate(head, tile.data(), queries, firstKey, keys, factors.data(), firstKey == seen.begin, out);
  }
  for (int64_t r = 0; r < queries; ++r) finishRow(states[static_cast<size_t>(r)], headIndex, firstQuery + r, out.row(r), out.cols, rows);
}

}  // namespace

void attention(const LayerView& layer, MatrixView out, const StatisticsView& rows, Job& job) {
  const int64_t count = layer.count(), blocks = (count + kQueries - 1) / kQueries, width = layer.rule.valueWidth;
  parallelFor(
      layer.rule.heads * blocks,
      [&](int64_t i) {
        const int64_t h = i / blocks, firstQuery = (i % blocks) * kQueries, queries = std::min(kQueries, count - firstQuery);
        attendBlock(layer.head(h), h, firstQuery, queries, out.rowsFrom(firstQuery, queries).colsFrom(h * width, width), rows, job);
      },
      &job);
}

}  // namespace headscope::core::cpu
