#pragma once
// How many of a row's weights, the largest first, reach each share of its mass, without sorting: positive floats are ordered as their bits
// are, so the value at which a share is reached is found by halving the range of bits, counting and summing what lies at or above the
// middle: a dozen or two readings of the row, by one group of threads (gpu/arithmetic/team.h). Sums in double over float runs.
#include <cmath>
#include <cstdint>

#include "gpu/arithmetic/decode.h"

namespace headscope::gpu {

/// Of the weights that are at least some value.
struct MassAbove {
  double count, sum;
};

template <typename Group>
HEADSCOPE_HD MassAbove massAbove(const Group& group, const float* weights, int64_t n, float least) {
  constexpr int kRun = 16;  // floats added before a double is: conversions are dear
  MassAbove mine{0.0, 0.0};
  const int64_t size = group.size();
  for (int64_t first = group.lane(); first < n; first += kRun * size) {
    const int64_t end = first + kRun * size < n ? first + kRun * size : n;
    float run = 0.0f;
    int count = 0;
    for (int64_t j = first; j < end; j += size) {
      const bool isAbove = weights[j] >= least;
      run += isAbove ? weights[j] : 0.0f;
      count += isAbove ? 1 : 0;
    }
    mine.sum += static_cast<double>(run), mine.count += count;
  }
  return {group.sum(mine.count), group.sum(mine.sum)};
}

/// out[s * stride] = the smallest count whose sum reaches (shares[s] - 1e-9) total; `limit` where none does, NaN where the row has no mass
/// or is not a number. Weights are at least 0 or NaN; shares ascend. isShare: the weights are shares of 1 already.
template <typename Group>
HEADSCOPE_HD void countToShares(const Group& group, const float* weights, int64_t n, bool isShare, const double* shares, int64_t shareCount,
                                int64_t limit, float* out, int64_t stride) {
  double plainSum = 0.0;  // with NaN, which counts as above nothing
  for (int64_t j = group.lane(); j < n; j += group.size()) plainSum += weights[j] >= 0.0f ? 0.0 : static_cast<double>(weights[j]);
  const double fault = group.sum(plainSum);
  const MassAbove all = massAbove(group, weights, n, 0.0f);
  const double total = isShare && all.sum - all.sum == 0.0 ? 1.0 : all.sum;
  const bool isFine = fault == 0.0 && total > 0.0 && total - total == 0.0;
  MassAbove above{0.0, 0.0};    // of what is at least `high`: short of the share
  uint32_t high = 0x7F800000u;  // infinity
  for (int64_t s = 0; s < shareCount; ++s) {
    const double wanted = (shares[s] - 1e-9) * total;
    double needed = isFine ? static_cast<double>(limit) : static_cast<double>(NAN);
    if (isFine && all.sum >= wanted) {
      uint32_t low = 0;  // what is at least this reaches the share
      MassAbove reached = all;
      // Weights below a n-th of what may be missing are not needed to reach it
      const uint32_t guess = bitsOf(static_cast<float>((all.sum - wanted) / static_cast<double>(n > 0 ? n : 1)));
      for (bool isFirst = true; high - low > 1 && reached.count - above.count > 1.0; isFirst = false) {
        const uint32_t middle = isFirst && guess > low && guess < high ? guess : low + (high - low) / 2;
        const MassAbove found = massAbove(group, weights, n, floatFromBits(middle));
        if (found.sum >= wanted) {
          low = middle, reached = found;
        } else {
          high = middle, above = found;
        }
      }
      needed = reached.count;
      const double value = static_cast<double>(floatFromBits(low));
      if (reached.count - above.count > 1.0 && value > 0.0) {  // several of one value, some of which are needed
        const double more = ceil((wanted - above.sum) / value);
        needed = above.count + (more > 1.0 ? more : 1.0);
        needed = needed < reached.count ? needed : reached.count;
      }
      needed = needed > 1.0 ? needed : 1.0;
      needed = needed < static_cast<double>(limit) ? needed : static_cast<double>(limit);
    }
    if (group.isFirst()) out[s * stride] = static_cast<float>(needed);
  }
}

}  // namespace headscope::gpu
