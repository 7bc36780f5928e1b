// Keys needed to reach shares of a row's mass: a histogram over the weights' leading bits (which order positive floats) finds the
// bucket where each share is reached, and only that bucket is sorted. No full sort, no N x N.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "core/backend/cpu/attention_kernels.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

/// Selects in one row at a time; keeps its scratch between rows.
class Selection {
 public:
  explicit Selection(int64_t capacity) : counts_(kBuckets, 0), sums_(kBuckets, 0.0) { members_.reserve(static_cast<size_t>(capacity)); }

  /// counts[s * stride] = smallest number of the `count` weights that sum to shares[s] * total - 1e-9 * total, at most `limit`.
  void select(const float* weights, int64_t count, double total, std::span<const double> shares, int64_t limit, float* counts,
              int64_t stride) {
    if (!std::isfinite(total) || total <= 0) {
      for (size_t s = 0; s < shares.size(); ++s) counts[static_cast<int64_t>(s) * stride] = std::numeric_limits<float>::quiet_NaN();
      return;
    }
    // Relative to the total, weights lie in [0, 1]
    const float inverse = static_cast<float>(1.0 / total);
    std::fill(counts_.begin(), counts_.end(), 0);
    std::fill(sums_.begin(), sums_.end(), 0.0);
    for (int64_t c = 0; c < count; ++c) {
      const size_t b = bucketOf(weights[c] * inverse);
      ++counts_[b];
      sums_[b] += weights[c];
    }
    int64_t above = 0;
    double mass = 0;
    size_t share = 0;
    for (size_t b = kBuckets; b-- > 0 && share < shares.size();) {
      if (counts_[b] == 0) continue;
      if (mass + sums_[b] >= (shares[share] - 1e-9) * total) {
        share = within(weights, count, inverse, b, above, mass, total, shares, share, limit, counts, stride);
      }
      above += counts_[b];
      mass += sums_[b];
    }
    for (; share < shares.size(); ++share) counts[static_cast<int64_t>(share) * stride] = static_cast<float>(limit);
  }

 private:
  // Exponents -40 .. 0 with four bits of fraction; smaller weights share bucket 0
  static constexpr int32_t kShift = 19;
  static constexpr int32_t kLowest = (127 - 40) << (23 - kShift);
  static constexpr size_t kBuckets = ((128 << (23 - kShift)) - kLowest) + 1;

  static size_t bucketOf(float weight) {
    const int32_t bits = (std::bit_cast<int32_t>(weight) >> kShift) - kLowest;
    return static_cast<size_t>(std::clamp<int32_t>(bits, 0, static_cast<int32_t>(kBuckets) - 1));
  }

  /// Shares reached inside bucket b, whose members are sorted; returns the first share that is not.
  size_t within(const float* weights, int64_t count, float inverse, size_t b, int64_t above, double mass, double total,
                std::span<const double> shares, size_t share, int64_t limit, float* counts, int64_t stride) {
    members_.clear();
    for (int64_t c = 0; c < count; ++c) {
      if (bucketOf(weights[c] * inverse) == b) members_.push_back(weights[c]);
    }
    std::sort(members_.begin(), members_.end(), std::greater<>());
    for (const float w : members_) {
      mass += w;
      ++above;
      while (share < shares.size() && mass >= (shares[share] - 1e-9) * total) {
        counts[static_cast<int64_t>(share++) * stride] = static_cast<float>(std::min(above, limit));
      }
      if (share == shares.size()) break;
    }
    return share;
  }

  std::vector<int64_t> counts_;
  std::vector<double> sums_;
  std::vector<float> members_;
};

double sumOf(const float* row, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < count; ++c) sum += row[c];
  return sum;
}

}  // namespace

KeysNeeded keysNeeded(const LayerView& layer, ConstMatrixView logSumExp, const Matrix* keyWeights, std::span<const double> shares,
                      Job& job) {
  // Rows a block: about 1 MB of weights, enough rows for a good product
  const int64_t count = layer.count(), shareCount = static_cast<int64_t>(shares.size());
  const int64_t queries = std::clamp<int64_t>(262144 / std::max<int64_t>(1, count), 8, 64), blocks = (count + queries - 1) / queries;
  KeysNeeded needed{Matrix(layer.rule.heads * shareCount, count), keyWeights ? Matrix(layer.rule.heads * shareCount, count) : Matrix()};
  parallelFor(
      layer.rule.heads * blocks,
      [&](int64_t i) {
        const int64_t h = i / blocks, first = (i % blocks) * queries, rows = std::min(queries, count - first);
        const HeadView head = layer.head(h);
        const KeyRange seen = visibleKeys(layer.rule, first, rows, count);
        const int64_t width = seen.end - seen.begin;
        Matrix tile(rows, width);
        Selection selection(width);
        weightTile(head, logSumExp.row(h), first, rows, seen.begin, width, tile.data(), width);
        for (int64_t r = 0; r < rows; ++r) {
          job.checkpoint();
          float* row = tile.row(r);
          // The weights of a row sum to 1 by definition, up to rounding, as in the reference
          const double total = sumOf(row, width);
          selection.select(row, width, std::isfinite(total) ? 1.0 : total, shares, count, needed.plain.row(h * shareCount) + first + r,
                           count);
          if (keyWeights == nullptr) continue;
          const float* factors = keyWeights->row(h) + seen.begin;
#pragma omp simd
          for (int64_t c = 0; c < width; ++c) row[c] *= factors[c];
          selection.select(row, width, sumOf(row, width), shares, count, needed.weighted.row(h * shareCount) + first + r, count);
        }
      },
      &job);
  return needed;
}

}  // namespace headscope::core::cpu
