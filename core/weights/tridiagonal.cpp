#include "core/weights/tridiagonal.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace headscope::core {
namespace {

typedef double Lane __attribute__((vector_size(64)));
constexpr int64_t kLane = 8;

Lane load(const double* from) {
  Lane lane;
  std::memcpy(&lane, from, sizeof lane);
  return lane;
}

double sumOf(const Lane& lane) {
  double sum = 0;
  for (int i = 0; i < kLane; ++i) sum += lane[i];
  return sum;
}

/// Rows a square matrix is kept in, padded to whole lanes.
struct PaddedSquare {
  int64_t stride;
  std::vector<double> values;
  explicit PaddedSquare(const DoubleMatrix& lower)
      : stride((lower.rows + kLane - 1) / kLane * kLane), values(static_cast<size_t>(stride * lower.rows), 0.0) {
    for (int64_t r = 0; r < lower.rows; ++r) {
      for (int64_t c = 0; c <= r; ++c) row(r)[c] = row(c)[r] = lower(r, c);
    }
  }
  double* row(int64_t r) { return values.data() + r * stride; }
};

/// Of kRows rows from `first` on: A -= v w^T + w v^T, then y = A x from the same entries. Lanes beyond the last column hold no numbers
/// that anything reads: x is zero there.
template <int64_t kRows>
void updateRows(PaddedSquare& a, int64_t first, int64_t lanes, const double* v, const double* w, const double* x, double* y) {
  Lane sums[kRows] = {};
  double* rows = a.row(first);
  for (int64_t b = 0; b < lanes; ++b) {
    const Lane vb = load(v + b * kLane), wb = load(w + b * kLane), xb = load(x + b * kLane);
    for (int64_t r = 0; r < kRows; ++r) {
      double* at = rows + r * a.stride + b * kLane;
      const Lane entry = load(at) - v[first + r] * wb - w[first + r] * vb;
      std::memcpy(at, &entry, sizeof entry);
      sums[r] += entry * xb;
    }
  }
  for (int64_t r = 0; r < kRows; ++r) y[first + r] = sumOf(sums[r]);
}

}  // namespace

Tridiagonal reduceToTridiagonal(const DoubleMatrix& lower) {
  const int64_t n = lower.rows;
  Tridiagonal out{std::vector<double>(static_cast<size_t>(n)), std::vector<double>(static_cast<size_t>(std::max<int64_t>(n - 1, 0)))};
  if (n == 0) return out;
  PaddedSquare a(lower);
  std::vector<double> memory(static_cast<size_t>(4 * a.stride), 0.0);
  double *v = memory.data(), *w = v + a.stride, *x = w + a.stride, *y = x + a.stride;
  // From the last row up: what is left is always the leading block. v and w are the update that its rows still lack.
  for (int64_t i = n - 1; i > 0; --i) {
    double* row = a.row(i);
    double squares = 0;
    for (int64_t c = 0; c <= i; ++c) row[c] -= v[i] * w[c] + w[i] * v[c];
    for (int64_t c = 0; c + 1 < i; ++c) squares += row[c] * row[c];
    out.diagonal[static_cast<size_t>(i)] = row[i];
    // Reflector that leaves only the entry beside the diagonal.
    const double head = row[i - 1];
    double tau = 0, beta = head, scale = 0;
    if (squares > 0) {
      beta = -std::copysign(std::sqrt(head * head + squares), head);
      tau = (beta - head) / beta;
      scale = 1 / (head - beta);
    }
    for (int64_t c = 0; c + 1 < i; ++c) x[c] = row[c] * scale;
    x[i - 1] = 1, x[i] = 0;
    out.off[static_cast<size_t>(i - 1)] = beta;
    const int64_t lanes = (i + kLane - 1) / kLane;
    int64_t r = 0;
    for (; r + 4 <= i; r += 4) updateRows<4>(a, r, lanes, v, w, x, y);
    for (; r < i; ++r) updateRows<1>(a, r, lanes, v, w, x, y);
    double half = 0;  // w = tau (A x - tau/2 (x^T A x) x)
    for (int64_t c = 0; c < i; ++c) half += x[c] * y[c];
    half *= 0.5 * tau;
    for (int64_t c = 0; c < i; ++c) v[c] = x[c], w[c] = tau * (y[c] - half * x[c]);
  }
  out.diagonal[0] = a.row(0)[0] - 2 * v[0] * w[0];
  return out;
}

}  // namespace headscope::core
