// Attention under a listed mask, row by row. What mechanisms do on the CPU is core/mechanisms/softmax_attention.cpp, in blocks; this is
// what a device's is checked by and what stands in when one fails.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/dot.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

float scoreOf(const MaskedHead& head, int64_t row, int64_t key) {
  float score = static_cast<float>(head.scale) * cpu::dot(head.query.row(row), head.key.row(key), head.query.cols);
  const auto cap = static_cast<float>(head.softcap);
  if (cap > 0) score = cap * std::tanh(score / cap);
  if (head.slope != 0) score -= static_cast<float>(head.slope) * static_cast<float>(std::abs(row + head.firstRow - key));
  return score;
}

/// Returns the row's log-sum-exp.
float attendRow(const MaskedHead& head, const RangeList& seen, int64_t row, std::vector<float>& scores, float* out) {
  const KeyRange *first = seen.ranges.data() + seen.begin[static_cast<size_t>(row)],
                 *last = seen.ranges.data() + seen.begin[static_cast<size_t>(row) + 1];
  std::fill_n(out, head.value.cols, 0.0f);
  scores.clear();
  float max = kMinusInfinity;
  for (const KeyRange* r = first; r != last; ++r) {
    for (int64_t j = r->first; j < r->end; ++j) {
      scores.push_back(scoreOf(head, row, j));
      max = scores.back() > max || std::isnan(scores.back()) ? scores.back() : max;
    }
  }
  if (max == kMinusInfinity) return kMinusInfinity;
  double sum = 0;
  size_t at = 0;
  for (const KeyRange* r = first; r != last; ++r) {
    for (int64_t j = r->first; j < r->end; ++j) {
      const float weight = cpu::exponential(scores[at++] - max);
      sum += weight;
      const float* value = head.value.row(j);
#pragma omp simd
      for (int64_t c = 0; c < head.value.cols; ++c) out[c] += weight * value[c];
    }
  }
  const auto inverse = static_cast<float>(1.0 / sum);
  for (int64_t c = 0; c < head.value.cols; ++c) out[c] *= inverse;
  return static_cast<float>(max + std::log(sum));
}

}  // namespace

MaskedRows CpuBackend::maskedAttention(const MaskedHead& head, const RangeList& seen, MatrixView out, const Job& job) {
  MaskedRows result;
  result.logSumExp.resize(static_cast<size_t>(head.query.rows));
  parallelRanges(
      head.query.rows, 16,
      [&](int64_t begin, int64_t end) {
        std::vector<float> scores;
        for (int64_t r = begin; r < end; ++r) result.logSumExp[static_cast<size_t>(r)] = attendRow(head, seen, r, scores, out.row(r));
      },
      &job);
  for (const KeyRange& r : seen.ranges) result.pairs += static_cast<double>(r.end - r.first);
  result.keyRows = result.pairs;
  return result;
}

}  // namespace headscope::core
