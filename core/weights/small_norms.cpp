#include "core/weights/small_norms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/weights/tridiagonal_values.h"

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

double innerProduct(const double* a, const double* b, int64_t count) {
  Lane even = {}, odd = {};
  int64_t i = 0;
  for (; i + 2 * kLane <= count; i += 2 * kLane) even += load(a + i) * load(b + i), odd += load(a + i + kLane) * load(b + i + kLane);
  for (; i + kLane <= count; i += kLane) even += load(a + i) * load(b + i);
  double sum = sumOf(even + odd);
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// y = G x, four rows at a time.
void multiply(const DoubleMatrix& g, const double* x, double* y) {
  const int64_t n = g.rows, whole = n / kLane * kLane;
  int64_t r = 0;
  for (; r + 4 <= n; r += 4) {
    const double* row = g.row(r);
    Lane sums[4] = {};
    for (int64_t c = 0; c < whole; c += kLane) {
      const Lane at = load(x + c);
      for (int64_t i = 0; i < 4; ++i) sums[i] += load(row + i * n + c) * at;
    }
    for (int64_t i = 0; i < 4; ++i) {
      y[r + i] = sumOf(sums[i]);
      for (int64_t c = whole; c < n; ++c) y[r + i] += row[i * n + c] * x[c];
    }
  }
  for (; r < n; ++r) y[r] = innerProduct(g.row(r), x, n);
}

}  // namespace

double innerProduct(const DoubleMatrix& a, const DoubleMatrix& b) {
  return innerProduct(a.data(), b.data(), static_cast<int64_t>(a.values.size()));
}

bool isAllFinite(const DoubleMatrix& a) {
  const int64_t count = static_cast<int64_t>(a.values.size());
  Lane sum = {};  // of zeros, unless an entry is not finite
  int64_t i = 0;
  for (; i + kLane <= count; i += kLane) {
    const Lane at = load(a.data() + i);
    sum += at - at;
  }
  double rest = sumOf(sum);
  for (; i < count; ++i) rest += a.values[static_cast<size_t>(i)] - a.values[static_cast<size_t>(i)];
  return rest == 0;
}

bool isAllFinite(ConstMatrixView a) {
  for (int64_t r = 0; r < a.rows; ++r) {
    if (!std::all_of(a.row(r), a.row(r) + a.cols, [](float v) { return std::isfinite(v); })) return false;
  }
  return true;
}

double largestEntry(const DoubleMatrix& a) {
  const int64_t count = static_cast<int64_t>(a.values.size());
  Lane parts = {}, sum = {};  // sum: of zeros, unless an entry is not finite
  double largest = 0, rest = 0;
  int64_t i = 0;
  for (; i + kLane <= count; i += kLane) {
    const Lane at = load(a.data() + i), size = at < 0 ? -at : at;
    parts = size > parts ? size : parts;
    sum += at - at;
  }
  for (; i < count; ++i) {
    const double at = a.values[static_cast<size_t>(i)];
    largest = std::max(largest, std::abs(at)), rest += at - at;
  }
  for (int l = 0; l < kLane; ++l) largest = std::max(largest, parts[l]);
  return largest + rest + sumOf(sum);
}

double largestEigenvalue(const DoubleMatrix& g) {
  constexpr int kSteps = 6;
  const int64_t n = g.rows;
  int64_t heaviest = 0;
  for (int64_t i = 1; i < n; ++i) heaviest = g(i, i) > g(heaviest, heaviest) ? i : heaviest;
  if (n == 0 || g(heaviest, heaviest) <= 0) return 0;
  std::vector<double> memory(static_cast<size_t>(3 * n), 0.0);
  double *before = memory.data(), *at = before + n, *next = at + n;
  std::copy_n(g.row(heaviest), n, next);
  Tridiagonal t;
  for (int step = 0; step < kSteps; ++step) {
    const double norm = std::sqrt(innerProduct(next, next, n));
    if (!(norm > 1e-14 * g(heaviest, heaviest))) break;  // the space is invariant
    if (step > 0) t.off.push_back(norm);
    std::swap(before, at), std::swap(at, next);
    for (int64_t i = 0; i < n; ++i) at[i] /= norm;
    multiply(g, at, next);
    t.diagonal.push_back(innerProduct(at, next, n));
    const double along = t.diagonal.back(), back = step > 0 ? norm : 0;
    for (int64_t i = 0; i < n; ++i) next[i] -= along * at[i] + back * before[i];
  }
  tridiagonalValues({&t, 1});
  return t.diagonal.empty() ? 0 : t.diagonal.front();
}

}  // namespace headscope::core
