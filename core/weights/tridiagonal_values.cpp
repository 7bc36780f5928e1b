#include "core/weights/tridiagonal_values.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "core/base/error.h"

namespace headscope::core {
namespace {

constexpr int64_t kLanes = 4, kGroups = 3;  // matrices of a vector; vectors whose steps fill each other's waiting
typedef double Lane __attribute__((vector_size(32)));
typedef int64_t Index __attribute__((vector_size(32)));
constexpr double kEps = std::numeric_limits<double>::epsilon() / 2;

Lane load(const double* from) {
  Lane lane;
  std::memcpy(&lane, from, sizeof lane);
  return lane;
}
void store(double* to, const Lane& lane) { std::memcpy(to, &lane, sizeof lane); }

/// Where every matrix's QL sweep over its rows [low, high] stands. Lanes without a sweep: high = low.
struct Sweep {
  Lane c, s, gamma, sigma, p, before;  // before: the diagonal entry that was written last
  Index low, high, part;               // part: the first row from low + 1 on whose link to the next vanished
};

/// Step i of every sweep of a vector, the lanes that are in it (kIsPartial: some may not be). d and e: rows i and, `stride` on, i + 1.
template <bool kIsPartial>
[[gnu::always_inline]] inline void step(Sweep& w, double* d, double* e, int64_t stride, int64_t i) {
  const Lane square = load(e), alpha = load(d);
  const Lane r = w.p + square, inverse = 1 / r, growth = r / w.p;  // growth: 1 / c, by a division that does not wait for c
  const Lane link = w.s * r, c = w.p * inverse, s = square * inverse;
  const Lane gamma = c * (alpha - w.sigma) - s * w.gamma, value = w.gamma + (alpha - gamma), product = value * w.before;
  const Lane p = growth <= std::numeric_limits<double>::max() ? gamma * gamma * growth : w.c * square;
  const Index isEnd = link <= kEps * kEps * (product < 0 ? -product : product), next = Index{} + (i + 1);
  if constexpr (kIsPartial) {
    const Index isIn = (next > w.low) & (next <= w.high);
    store(e + stride, isIn ? link : load(e + stride)), store(d + stride, isIn ? value : load(d + stride));
    w.part = (isIn & isEnd) ? next : w.part;
    w.c = isIn ? c : w.c, w.s = isIn ? s : w.s, w.gamma = isIn ? gamma : w.gamma, w.p = isIn ? p : w.p;
    w.before = isIn ? value : w.before;
  } else {
    store(e + stride, link), store(d + stride, value);
    w.part = isEnd ? next : w.part;
    w.c = c, w.s = s, w.gamma = gamma, w.p = p, w.before = value;
  }
}

template <bool kIsPartial, int64_t kCount>
void steps(Sweep* sweeps, double* d, double* e, int64_t& i, int64_t last) {
  constexpr int64_t stride = kCount * kLanes;
  Sweep own[kCount];
  std::copy_n(sweeps, kCount, own);
  for (; i >= last; --i) {
    for (int64_t g = 0; g < kCount; ++g) step<kIsPartial>(own[g], d + i * stride + g * kLanes, e + i * stride + g * kLanes, stride, i);
  }
  std::copy_n(own, kCount, sweeps);
}

/// All sweeps from their upper ends down.
template <int64_t kCount>
void advance(Sweep* sweeps, double* d, double* e) {
  int64_t top = 0, allBelow = std::numeric_limits<int64_t>::max(), allFrom = 0, bottom = allBelow;
  for (int64_t lane = 0; lane < kCount * kLanes; ++lane) {
    const int64_t low = sweeps[lane / kLanes].low[lane % kLanes], high = sweeps[lane / kLanes].high[lane % kLanes];
    if (high > low) bottom = std::min(bottom, low);
    top = std::max(top, high), allBelow = std::min(allBelow, high), allFrom = std::max(allFrom, low);
  }
  int64_t i = top - 1;
  steps<true, kCount>(sweeps, d, e, i, std::max(bottom, allBelow));
  steps<false, kCount>(sweeps, d, e, i, std::max(bottom, allFrom));
  steps<true, kCount>(sweeps, d, e, i, bottom);
}

/// One lane's matrix of `count` rows that end with row `rows` - 1, from sweep to sweep.
class Iteration {
 public:
  Iteration(double* d, double* e, int64_t stride, int64_t rows, int64_t count)
      : d_(d), e_(e), stride_(stride), l_(rows - count), last_(l_ - 1), n_(rows), stepsLeft_(30 * count) {}

  /// Ends the sweep that was run in `lane`, if any, and sets up the next; false when all values are found.
  bool next(Sweep& w, int64_t lane) {
    int64_t known = -1;  // where the part that l begins ends
    if (isRunning_) {
      e(l_) = w.s[lane] * w.p[lane], d(l_) = w.sigma[lane] + w.gamma[lane];
      known = isLinked(l_) ? w.part[lane] : l_;
    }
    isRunning_ = false;
    w.high[lane] = w.low[lane] = l_;
    while (l_ <= last_ || nextBlock()) {
      const int64_t m = known >= l_ ? known : endOfPart();
      known = -1;
      e(m) = m < last_ ? 0 : e(m);
      if (m == l_) {
        ++l_;
      } else if (m == l_ + 1) {
        solvePair();
      } else {
        begin(m, w, lane);
        return true;
      }
    }
    w.high[lane] = w.low[lane] = n_;
    return false;
  }

 private:
  double& d(int64_t i) { return d_[i * stride_]; }
  double& e(int64_t i) { return e_[i * stride_]; }
  bool isLinked(int64_t m) { return std::abs(e(m)) > kEps * kEps * std::abs(d(m) * d(m + 1)); }

  /// Rows [l, last] that no zero separates, the larger end last; e becomes its squares there.
  bool nextBlock() {
    const int64_t first = last_ + 1;
    if (first >= n_) return false;
    int64_t m = first;
    while (m + 1 < n_ && std::abs(e(m)) > std::sqrt(std::abs(d(m))) * std::sqrt(std::abs(d(m + 1))) * kEps) ++m;
    if (m + 1 < n_) e(m) = 0;
    l_ = first, last_ = m;
    if (std::abs(d(m)) < std::abs(d(first))) {
      for (int64_t i = first, j = m; i < j; ++i, --j) std::swap(d(i), d(j));
      for (int64_t i = first, j = m - 1; i < j; ++i, --j) std::swap(e(i), e(j));
    }
    for (int64_t i = first; i < m; ++i) e(i) *= e(i);
    return true;
  }

  int64_t endOfPart() {
    int64_t m = l_;
    while (m < last_ && isLinked(m)) ++m;
    return m;
  }

  /// The two values of rows l and l + 1.
  void solvePair() {
    const double a = d(l_), beside = std::sqrt(e(l_)), b = d(l_ + 1), sum = a + b;
    const double larger = (sum + std::copysign(std::hypot(a - b, 2 * beside), sum)) / 2;
    // The one nearer to zero from the product of both, where a difference would cancel.
    const double most = std::abs(a) > std::abs(b) ? a : b, least = std::abs(a) > std::abs(b) ? b : a;
    d(l_) = larger;
    d(l_ + 1) = larger != 0 ? most / larger * least - beside / larger * beside : 0.0;
    e(l_) = 0;
    l_ += 2;
  }

  void begin(int64_t m, Sweep& w, int64_t lane) {
    if (--stepsLeft_ < 0) throw Error("the eigenvalues of a tridiagonal matrix don't converge");
    const double root = std::sqrt(e(l_)), p = d(l_);
    double sigma = (d(l_ + 1) - p) / (2 * root);
    sigma = p - root / (sigma + std::copysign(std::hypot(sigma, 1.0), sigma));
    const double gamma = d(m) - sigma;
    w.c[lane] = 1, w.s[lane] = 0, w.sigma[lane] = sigma, w.gamma[lane] = gamma, w.p[lane] = gamma * gamma, w.before[lane] = 0;
    w.low[lane] = l_, w.high[lane] = w.part[lane] = m;
    isRunning_ = true;
  }

  double *d_, *e_;
  int64_t stride_, l_, last_, n_, stepsLeft_;
  bool isRunning_ = false;
};

/// At most kCount * kLanes matrices, their last rows side by side.
template <int64_t kCount>
void valuesOf(std::span<Tridiagonal* const> together) {
  constexpr int64_t stride = kCount * kLanes;
  int64_t rows = 0;
  for (const Tridiagonal* t : together) rows = std::max(rows, static_cast<int64_t>(t->diagonal.size()));
  std::vector<double> memory(static_cast<size_t>((2 * rows + 2) * stride), 0.0);
  double *d = memory.data(), *e = d + (rows + 1) * stride;
  std::vector<Iteration> iterations;
  for (size_t k = 0; k < together.size(); ++k) {
    const Tridiagonal& t = *together[k];
    const int64_t count = static_cast<int64_t>(t.diagonal.size()), first = (rows - count) * stride + static_cast<int64_t>(k);
    for (int64_t i = 0; i < count; ++i) d[first + i * stride] = t.diagonal[static_cast<size_t>(i)];
    for (int64_t i = 0; i + 1 < count; ++i) e[first + i * stride] = t.off[static_cast<size_t>(i)];
    iterations.emplace_back(d + k, e + k, stride, rows, count);
  }
  Sweep sweeps[kCount] = {};
  for (;;) {
    bool isRunning = false;
    for (size_t k = 0; k < iterations.size(); ++k) isRunning |= iterations[k].next(sweeps[k / kLanes], static_cast<int64_t>(k % kLanes));
    if (!isRunning) break;
    advance<kCount>(sweeps, d, e);
  }
  for (size_t k = 0; k < together.size(); ++k) {
    std::vector<double>& values = together[k]->diagonal;
    const int64_t count = static_cast<int64_t>(values.size()), first = (rows - count) * stride + static_cast<int64_t>(k);
    for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = d[first + i * stride];
    std::sort(values.begin(), values.end(), std::greater<>());
  }
}

}  // namespace

void tridiagonalValues(std::span<Tridiagonal> together) {
  std::vector<Tridiagonal*> bySize;
  for (Tridiagonal& t : together) bySize.push_back(&t);
  std::sort(bySize.begin(), bySize.end(),
            [](const Tridiagonal* a, const Tridiagonal* b) { return a->diagonal.size() > b->diagonal.size(); });
  for (size_t first = 0; first < bySize.size(); first += kGroups * kLanes) {
    const size_t count = std::min<size_t>(kGroups * kLanes, bySize.size() - first);
    const std::span<Tridiagonal* const> some = std::span(bySize).subspan(first, count);
    if (count <= kLanes) {
      valuesOf<1>(some);
    } else if (count <= 2 * kLanes) {
      valuesOf<2>(some);
    } else {
      valuesOf<3>(some);
    }
  }
}

}  // namespace headscope::core
