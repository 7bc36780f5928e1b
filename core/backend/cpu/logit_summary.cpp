#include <algorithm>
#include <cmath>
#include <limits>

#include "core/backend/cpu/kernels.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

constexpr int64_t kVocabularyTile = 768, kTokenTile = 512;

void capRow(float* row, int64_t count, float cap) {
#pragma omp simd
  for (int64_t c = 0; c < count; ++c) row[c] = cap * hyperbolicTangent(row[c] / cap);
}

float largest(const float* row, int64_t count) {
  float m = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : m)
  for (int64_t c = 0; c < count; ++c) m = row[c] > m ? row[c] : m;
  return m;
}

float sumOfExponentials(const float* row, int64_t count, float shift) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < count; ++c) sum += exponential(row[c] - shift);
  return sum;
}

/// A running sum of exponentials, relative to the largest term so far.
struct RunningSum {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  void add(double otherMax, double otherSum) {
    if (std::isinf(otherMax) && otherMax < 0 && otherSum == 0) return;
    const double m = std::max(max, otherMax);
    sum = (sum == 0 ? 0 : sum * std::exp(max - m)) + otherSum * std::exp(otherMax - m);
    max = m;
  }
};

}  // namespace

LogitSummary logitSummary(ConstMatrixView x, const Linear& unembedding, double softcap, std::span<const int32_t> targets, Job& job) {
  const int64_t vocabulary = unembedding.outputs();
  const int64_t columns = std::max<int64_t>(1, (vocabulary + kVocabularyTile - 1) / kVocabularyTile);
  LogitSummary summary;
  summary.logSumExp.assign(static_cast<size_t>(x.rows), 0.0);
  summary.target.assign(static_cast<size_t>(x.rows), std::numeric_limits<float>::quiet_NaN());
  for (int64_t firstToken = 0; firstToken < x.rows; firstToken += kTokenTile) {
    const ConstMatrixView rows = x.rowsFrom(firstToken, std::min(kTokenTile, x.rows - firstToken));
    const std::vector<Matrix> reduced = reduceByAdapter(rows, unembedding, job);
    Matrix max(columns, rows.rows), sum(columns, rows.rows);  // of each vocabulary tile and row
    parallelFor(
        columns,
        [&](int64_t tile) {
          const int64_t first = tile * kVocabularyTile, count = std::min(kVocabularyTile, vocabulary - first);
          Matrix logits(rows.rows, count);
          linearTile(rows, unembedding, reduced, first, count, Into::Replace, logits.view());
          for (int64_t n = 0; n < rows.rows; ++n) {
            float* row = logits.row(n);
            if (softcap > 0) capRow(row, count, static_cast<float>(softcap));
            max(tile, n) = largest(row, count);
            sum(tile, n) = sumOfExponentials(row, count, max(tile, n));
            const int64_t target = targets[static_cast<size_t>(firstToken + n)] - first;
            if (target >= 0 && target < count) summary.target[static_cast<size_t>(firstToken + n)] = row[target];
          }
        },
        &job);
    for (int64_t n = 0; n < rows.rows; ++n) {
      RunningSum total;
      for (int64_t tile = 0; tile < columns; ++tile) total.add(max(tile, n), sum(tile, n));
      summary.logSumExp[static_cast<size_t>(firstToken + n)] = total.max + std::log(total.sum);
    }
  }
  return summary;
}

}  // namespace headscope::core::cpu
