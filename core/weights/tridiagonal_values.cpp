#include "core/weights/tridiagonal_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/base/error.h"

namespace headscope::core {
namespace {

constexpr int kLanes = 6;

/// Where a QL sweep over rows [l, m] stands: `left` steps to go, the next at row i. e holds squares.
struct Sweep {
  double *d = nullptr, *e = nullptr;
  int64_t i = 0, left = 0;
  double c = 1, s = 0, gamma = 0, sigma = 0, p = 0;
};

/// The same number of steps of kCount sweeps, in turn.
template <int kCount>
void advance(Sweep* const* sweeps, int64_t steps) {
  std::array<Sweep, kCount> at;
  for (int k = 0; k < kCount; ++k) at[k] = *sweeps[k];
  for (int64_t step = 0; step < steps; ++step) {
    for (int k = 0; k < kCount; ++k) {
      Sweep& w = at[k];
      const double square = w.e[w.i], alpha = w.d[w.i], r = w.p + square, before = w.c, gammaBefore = w.gamma;
      const double inverse = 1 / r, growth = r / w.p;  // 1 / c, by a division that does not wait for c
      w.e[w.i + 1] = w.s * r;
      w.c = w.p * inverse, w.s = square * inverse;
      w.gamma = w.c * (alpha - w.sigma) - w.s * gammaBefore;
      w.d[w.i + 1] = gammaBefore + (alpha - w.gamma);
      w.p = growth <= std::numeric_limits<double>::max() ? w.gamma * w.gamma * growth : before * square;
      --w.i;
    }
  }
  for (int k = 0; k < kCount; ++k) at[k].left -= steps, *sweeps[k] = at[k];
}

/// One matrix, from sweep to sweep.
class Iteration {
 public:
  explicit Iteration(Tridiagonal& t) : d_(t.diagonal), e_(t.off), n_(static_cast<int64_t>(t.diagonal.size())), stepsLeft_(30 * n_) {
    e_.resize(static_cast<size_t>(n_), 0.0);
    sweep.d = d_.data(), sweep.e = e_.data();
  }

  Sweep sweep;

  /// Ends the sweep that was run, if any, and sets up the next; false when all values are found.
  bool next() {
    if (isRunning_) sweep.e[l_] = sweep.s * sweep.p, sweep.d[l_] = sweep.sigma + sweep.gamma;
    isRunning_ = false;
    while (l_ <= last_ || nextBlock()) {
      const int64_t m = endOfPart();
      if (m == l_) {
        ++l_;
      } else if (m == l_ + 1) {
        solvePair();
      } else {
        begin(m);
        return true;
      }
    }
    return false;
  }

 private:
  static constexpr double kEps = std::numeric_limits<double>::epsilon() / 2;

  /// Rows [l, last] that no zero separates, the larger end last; e becomes its squares there.
  bool nextBlock() {
    const int64_t first = last_ + 1;
    if (first >= n_) return false;
    int64_t m = first;
    while (m + 1 < n_ && std::abs(e_[at(m)]) > std::sqrt(std::abs(d_[at(m)])) * std::sqrt(std::abs(d_[at(m + 1)])) * kEps) ++m;
    if (m + 1 < n_) e_[at(m)] = 0;
    l_ = first, last_ = m;
    if (std::abs(d_[at(m)]) < std::abs(d_[at(first)])) {
      std::reverse(d_.begin() + first, d_.begin() + m + 1);
      std::reverse(e_.begin() + first, e_.begin() + m);
    }
    for (int64_t i = first; i < m; ++i) e_[at(i)] *= e_[at(i)];
    return true;
  }

  int64_t endOfPart() {
    for (int64_t m = l_; m < last_; ++m) {
      if (std::abs(e_[at(m)]) > kEps * kEps * std::abs(d_[at(m)] * d_[at(m + 1)])) continue;
      e_[at(m)] = 0;
      return m;
    }
    return last_;
  }

  /// The two values of rows l and l + 1.
  void solvePair() {
    const double a = d_[at(l_)], beside = std::sqrt(e_[at(l_)]), b = d_[at(l_ + 1)], sum = a + b;
    const double larger = (sum + std::copysign(std::hypot(a - b, 2 * beside), sum)) / 2;
    // The one nearer to zero from the product of both, where a difference would cancel.
    const double most = std::abs(a) > std::abs(b) ? a : b, least = std::abs(a) > std::abs(b) ? b : a;
    d_[at(l_)] = larger;
    d_[at(l_ + 1)] = larger != 0 ? most / larger * least - beside / larger * beside : 0.0;
    e_[at(l_)] = 0;
    l_ += 2;
  }

  void begin(int64_t m) {
    if (--stepsLeft_ < 0) throw Error("the eigenvalues of a tridiagonal matrix don't converge");
    const double root = std::sqrt(e_[at(l_)]), p = d_[at(l_)];
    double sigma = (d_[at(l_ + 1)] - p) / (2 * root);
    sigma = p - root / (sigma + std::copysign(std::hypot(sigma, 1.0), sigma));
    sweep.c = 1, sweep.s = 0, sweep.sigma = sigma, sweep.gamma = d_[at(m)] - sigma, sweep.p = sweep.gamma * sweep.gamma;
    sweep.i = m - 1, sweep.left = m - l_;
    isRunning_ = true;
  }

  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  std::vector<double>&d_, &e_;
  int64_t n_, stepsLeft_;
  int64_t l_ = 0, last_ = -1;
  bool isRunning_ = false;
};

}  // namespace

void tridiagonalValues(std::span<Tridiagonal> together) {
  std::vector<Iteration> all;
  all.reserve(together.size());
  for (Tridiagonal& t : together) all.emplace_back(t);
  std::array<Iteration*, kLanes> lanes{};
  int count = 0;
  size_t started = 0;
  for (;;) {
    while (count < kLanes && started < all.size()) {
      Iteration& one = all[started++];
      if (one.next()) lanes[static_cast<size_t>(count++)] = &one;
    }
    if (count == 0) break;
    std::array<Sweep*, kLanes> sweeps{};
    int64_t steps = std::numeric_limits<int64_t>::max();
    for (int k = 0; k < count; ++k)
      sweeps[static_cast<size_t>(k)] = &lanes[static_cast<size_t>(k)]->sweep,
      steps = std::min(steps, lanes[static_cast<size_t>(k)]->sweep.left);
    switch (count) {
      case 1:
        advance<1>(sweeps.data(), steps);
        break;
      case 2:
        advance<2>(sweeps.data(), steps);
        break;
      case 3:
        advance<3>(sweeps.data(), steps);
        break;
      case 4:
        advance<4>(sweeps.data(), steps);
        break;
      case 5:
        advance<5>(sweeps.data(), steps);
        break;
      default:
        advance<kLanes>(sweeps.data(), steps);
    }
    for (int k = 0; k < count;) {
      Iteration& one = *lanes[static_cast<size_t>(k)];
      if (one.sweep.left > 0 || one.next()) {
        ++k;
      } else {
        lanes[static_cast<size_t>(k)] = lanes[static_cast<size_t>(--count)];
      }
    }
  }
  for (Tridiagonal& t : together) std::sort(t.diagonal.begin(), t.diagonal.end(), std::greater<>());
}

}  // namespace headscope::core
