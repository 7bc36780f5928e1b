#pragma once
// One row of scores into weights: softmax over the keys that the row sees, or over those of them that a rule chooses: the largest so many,
// or the smallest set whose share of the mass is reached. As core/mechanisms/selection.h: a tie goes to the earlier key. By one team.
//
// Scores are compared as whole numbers of the same order, so that the cut is found bit by bit, in 32 passes over the row, and is a score of
// the row itself; the order in which a team adds never decides.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

/// Larger numbers have larger orders; minus infinity, which marks keys that are not seen, has kUnseen, and NaN has 0.
inline constexpr uint32_t kUnseen = 0x007FFFFFu;
HEADSCOPE_HD uint32_t orderOf(float x) {
  if (x != x) return 0;
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
HEADSCOPE_HD float fromOrder(uint32_t order) {
  const uint32_t bits = (order & 0x80000000u) != 0 ? order & 0x7FFFFFFFu : ~order;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/// keys > 0: so many of the largest; else mass > 0: the smallest set that holds so much of the mass; else all.
struct RowRule {
  long long keys;
  double mass;
};

/// Kept are orders above `order`, and equal ones up to index `last`.
struct RowCut {
  uint32_t order;
  int last;
};
HEADSCOPE_HD bool isKept(const RowCut& cut, float x, int index) {
  const uint32_t order = orderOf(x);
  return order > cut.order || (order == cut.order && index <= cut.last);
}

namespace detail {

/// The largest order from which on `amount(order)` reaches `wanted`; amount falls as orders rise.
template <typename Amount>
HEADSCOPE_HD uint32_t lastOrder(double wanted, Amount amount) {
  uint32_t order = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const uint32_t next = order | uint32_t{1} << bit;
    if (amount(next) >= wanted) order = next;
  }
  return order;
}

/// Index of the earliest of x whose order is `order` such that `count` of them have been met.
template <typename Team>
HEADSCOPE_HD int indexOfTie(Team& team, const float* x, int n, uint32_t order, double count) {
  int low = 0, high = n - 1;  // enough are met by `high`
  while (low < high) {
    const int middle = low + (high - low) / 2;
    const double met = team.sum(middle + 1, [&](int j) { return orderOf(x[j]) == order ? 1.0 : 0.0; });
    if (met >= count) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

}  // namespace detail

/// The cut of values x [n]; where a mass is asked for they are weights, none negative.
template <typename Team>
HEADSCOPE_HD RowCut cutOf(Team& team, const float* x, int n, const RowRule& rule) {
  const RowCut all{kUnseen, -1};
  const auto amountFrom = [&](uint32_t order) {
    return team.sum(n, [&](int j) { return orderOf(x[j]) >= order ? (rule.keys > 0 ? 1.0 : static_cast<double>(x[j])) : 0.0; });
  };
  if (rule.keys <= 0 && !(rule.mass > 0)) return all;
  const double wanted =
      rule.keys > 0 ? static_cast<double>(rule.keys)
                    : (rule.mass - 1e-12) * team.sum(n, [&](int j) { return orderOf(x[j]) > kUnseen ? static_cast<double>(x[j]) : 0.0; });
  const uint32_t order = detail::lastOrder(wanted, amountFrom);
  if (order <= kUnseen) return all;  // fewer are seen than may be kept
  const double above = order == 0xFFFFFFFFu ? 0.0 : amountFrom(order + 1);
  const double ties = team.sum(n, [&](int j) { return orderOf(x[j]) == order ? 1.0 : 0.0; });
  double taken = wanted - above;
  if (rule.keys <= 0) taken = ceil(taken / static_cast<double>(fromOrder(order)));
  taken = taken < 1 ? 1 : taken;  // one key at least
  if (!(taken < ties)) return {order, n};
  return {order, detail::indexOfTie(team, x, n, order, taken)};
}

/// What is known of a row of weights: the logarithms of the sum of exp(score) over the kept keys and of the sum of its squares (minus
/// infinity where none is kept), and how many are kept.
struct RowSums {
  double logSumExp, logSumSquares, kept;
};

/// Scores x [n], minus infinity where a key is not seen, become weights that sum to 1, 0 where a key is not kept.
template <typename Team>
HEADSCOPE_HD RowSums chooseRow(Team& team, float* x, int n, const RowRule& rule) {
  const double top = team.max(n, [&](int j) { return static_cast<double>(orderOf(x[j])); });
  const bool isBroken = team.any(n, [&](int j) { return x[j] != x[j]; });
  if (!(top > kUnseen) && !isBroken) {
    team.forEach(n, [&](int j) { x[j] = 0.0f; });
    return {-INFINITY, -INFINITY, 0};
  }
  const float largest = fromOrder(static_cast<uint32_t>(top));
  const bool isByMass = rule.keys <= 0 && rule.mass > 0;
  const auto weigh = [&](int j) { x[j] = x[j] == -INFINITY ? 0.0f : expf(x[j] - largest); };
  const double seen = team.sum(n, [&](int j) { return x[j] == -INFINITY ? 0.0 : 1.0; });
  double kept = seen;
  if (isByMass) {
    // Keys that are not seen stay apart from those whose weight is nothing
    team.forEach(n, [&](int j) { x[j] = x[j] == -INFINITY ? x[j] : expf(x[j] - largest); });
    const RowCut cut = cutOf(team, x, n, rule);
    kept = team.sum(n, [&](int j) { return x[j] != x[j] || isKept(cut, x[j], j) ? 1.0 : 0.0; });
    team.forEach(n, [&](int j) { x[j] = x[j] != x[j] || isKept(cut, x[j], j) ? x[j] : 0.0f; });
  } else if (rule.keys > 0 && static_cast<double>(rule.keys) < seen) {
    const RowCut cut = cutOf(team, x, n, rule);
    kept = static_cast<double>(rule.keys);
    team.forEach(n, [&](int j) {
      if (x[j] == x[j] && !isKept(cut, x[j], j)) x[j] = -INFINITY;
      weigh(j);
    });
  } else {
    team.forEach(n, weigh);
  }
  const double sum = team.sum(n, [&](int j) { return static_cast<double>(x[j]); });
  const double squares = team.sum(n, [&](int j) { return static_cast<double>(x[j]) * x[j]; });
  team.forEach(n, [&](int j) { x[j] = static_cast<float>(x[j] / sum); });
  return {largest + log(sum), 2 * static_cast<double>(largest) + log(squares), kept};
}

}  // namespace headscope::gpu
