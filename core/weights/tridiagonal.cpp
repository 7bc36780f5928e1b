#include "core/weights/tridiagonal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace headscope::core {
namespace {

typedef double Lane __attribute__((vector_size(64)));
constexpr int64_t kLane = 8, kHalf = 4;

Lane load(const double* from) {
  Lane lane;
  std::memcpy(&lane, from, sizeof lane);
  return lane;
}
void store(double* to, const Lane& lane) { std::memcpy(to, &lane, sizeof lane); }

double sumOf(const Lane& lane) {
  double sum = 0;
  for (int i = 0; i < kLane; ++i) sum += lane[i];
  return sum;
}

double innerProduct(const double* a, const double* b, int64_t lanes) {
  Lane sum = {};
  for (int64_t l = 0; l < lanes; ++l) sum += load(a + l * kLane) * load(b + l * kLane);
  return sumOf(sum);
}

/// A symmetric matrix as 8 x 8 blocks on and below the diagonal, one row of blocks after the other; blocks on the diagonal are whole. Half
/// the memory of the square: what is left of a hundred rows stays in the first-level cache.
class BlockTriangle {
 public:
  explicit BlockTriangle(const DoubleMatrix& lower) : blocks_((lower.rows + kLane - 1) / kLane) {
    values_.assign(static_cast<size_t>(blocks_ * (blocks_ + 1) / 2 * kLane * kLane), 0.0);
    for (int64_t r = 0; r < lower.rows; ++r) {
      double* to = row(r);
      const int64_t first = r / kLane * kLane;
      for (int64_t c = 0; c < first; c += kLane) std::memcpy(to + c * kLane, lower.row(r) + c, sizeof(Lane));
      for (int64_t c = first; c <= r; ++c) to[first * kLane + c - first] = row(c)[first * kLane + r - first] = lower(r, c);
    }
  }
  int64_t blocks() const { return blocks_; }
  /// Columns 8 b .. 8 b + 7 of it are at [8 * 8 b].
  double* row(int64_t r) {
    const int64_t band = r / kLane;
    return values_.data() + (band * (band + 1) / 2 * kLane + r % kLane) * kLane;
  }

 private:
  int64_t blocks_;
  std::vector<double> values_;
};

/// What one step does to the block of rows from `first` on: A -= v w^T + w v^T, then y += A x from the same entries and those that mirror
/// them. Vectors are whole lanes, zero beyond the last row.
struct Step {
  const double *v, *w, *x;
  double* y;

  void halfBand(double* rows, int64_t first, Lane* sums) const {
    const int64_t diagonal = first / kLane;
    double vs[kHalf], ws[kHalf], xs[kHalf];
    for (int64_t r = 0; r < kHalf; ++r) vs[r] = v[first + r], ws[r] = w[first + r], xs[r] = x[first + r], sums[r] = Lane{};
    for (int64_t b = 0; b < diagonal; ++b, rows += kLane * kLane) {
      const Lane vb = load(v + b * kLane), wb = load(w + b * kLane), xb = load(x + b * kLane);
      Lane even = load(y + b * kLane), odd = {};
      for (int64_t r = 0; r < kHalf; ++r) {
        const Lane entry = load(rows + r * kLane) - vs[r] * wb - ws[r] * vb;
        store(rows + r * kLane, entry);
        sums[r] += entry * xb;
        (r % 2 == 0 ? even : odd) += entry * xs[r];
      }
      store(y + b * kLane, even + odd);
    }
    const Lane vb = load(v + diagonal * kLane), wb = load(w + diagonal * kLane), xb = load(x + diagonal * kLane);
    for (int64_t r = 0; r < kHalf; ++r) {
      const Lane entry = load(rows + r * kLane) - vs[r] * wb - ws[r] * vb;
      store(rows + r * kLane, entry);
      sums[r] += entry * xb;
    }
  }

  void band(BlockTriangle& a, int64_t first) const {
    Lane s[kLane], t[kLane];
    halfBand(a.row(first), first, s);
    halfBand(a.row(first + kHalf), first + kHalf, s + kHalf);
    // Eight sums of eight numbers each, by adding turned pairs.
    for (int i = 0; i < 8; i += 2)
      t[i / 2] = __builtin_shufflevector(s[i], s[i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
                 __builtin_shufflevector(s[i], s[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < 4; i += 2)
      s[i / 2] = __builtin_shufflevector(t[i], t[i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
                 __builtin_shufflevector(t[i], t[i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    const Lane sums =
        __builtin_shufflevector(s[0], s[1], 0, 1, 2, 3, 8, 9, 10, 11) + __builtin_shufflevector(s[0], s[1], 4, 5, 6, 7, 12, 13, 14, 15);
    store(y + first, load(y + first) + sums);
  }
};

}  // namespace

Tridiagonal reduceToTridiagonal(const DoubleMatrix& lower) {
  const int64_t n = lower.rows;
  Tridiagonal out{std::vector<double>(static_cast<size_t>(n)), std::vector<double>(static_cast<size_t>(std::max<int64_t>(n - 1, 0)))};
  if (n == 0) return out;
  BlockTriangle a(lower);
  const int64_t padded = a.blocks() * kLane;
  std::vector<double> memory(static_cast<size_t>(4 * padded), 0.0);
  double *v = memory.data(), *w = v + padded, *x = w + padded, *y = x + padded;
  // From the last row up: what is left is always the leading block. v and w are the update that its rows still lack.
  for (int64_t i = n - 1; i > 0; --i) {
    const double* row = a.row(i);
    const double vi = v[i], wi = w[i];
    const int64_t whole = i / kLane + 1, lanes = (i + kLane - 1) / kLane;
    for (int64_t b = 0; b < whole; ++b)
      store(x + b * kLane, load(row + b * kLane * kLane) - vi * load(w + b * kLane) - wi * load(v + b * kLane));
    out.diagonal[static_cast<size_t>(i)] = x[i];
    // Reflector that leaves only the entry beside the diagonal.
    const double head = x[i - 1];
    for (int64_t c = i - 1; c < whole * kLane; ++c) x[c] = 0;
    for (int64_t c = i; c < whole * kLane; ++c) v[c] = w[c] = 0;
    const double squares = innerProduct(x, x, whole);
    double tau = 0, beta = head, scale = 0;
    if (squares > 0) {
      beta = -std::copysign(std::sqrt(head * head + squares), head);
      tau = (beta - head) / beta;
      scale = 1 / (head - beta);
    }
    out.off[static_cast<size_t>(i - 1)] = beta;
    for (int64_t b = 0; b < lanes; ++b) store(x + b * kLane, load(x + b * kLane) * scale), store(y + b * kLane, Lane{});
    x[i - 1] = 1;
    const Step step{v, w, x, y};
    for (int64_t first = 0; first < i; first += kLane) step.band(a, first);
    // w = tau (A x - tau/2 (x^T A x) x); rows from i on, which are done, get nothing.
    const double half = 0.5 * tau * innerProduct(x, y, lanes);
    for (int64_t b = 0; b < lanes; ++b)
      store(v + b * kLane, load(x + b * kLane)), store(w + b * kLane, tau * (load(y + b * kLane) - half * load(x + b * kLane)));
    for (int64_t c = i; c < lanes * kLane; ++c) w[c] = 0;
  }
  out.diagonal[0] = a.row(0)[0] - 2 * v[0] * w[0];
  return out;
}

}  // namespace headscope::core
