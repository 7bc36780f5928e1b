#include "core/weights/small_triangle.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/weights/small_product.h"

namespace headscope::core {
namespace {

typedef double Lane __attribute__((vector_size(64)));
constexpr int64_t kLane = 8, kBand = 16;

/// The band's own block [count, count] becomes its triangle, inverse[r] = 1 / R(r, r).
bool factorBlock(double* block, int64_t stride, int64_t count, double* inverse) {
  for (int64_t p = 0; p < count; ++p) {
    double* row = block + p * stride;
    if (!(row[p] > 0) || !std::isfinite(row[p])) return false;
    const double root = std::sqrt(row[p]);
    inverse[p] = 1 / root;
    row[p] = root;
    for (int64_t c = p + 1; c < count; ++c) row[c] *= inverse[p];
    for (int64_t q = p + 1; q < count; ++q) {
      for (int64_t c = q; c < count; ++c) block[q * stride + c] -= row[q] * row[c];
    }
  }
  return true;
}

/// Eight columns of the band's rows through the inverse of its triangle's transpose.
void solveEight(const double* block, const double* inverse, double* columns, int64_t stride) {
  Lane rows[kBand];
  for (int64_t r = 0; r < kBand; ++r) std::memcpy(&rows[r], columns + r * stride, sizeof(Lane));
  for (int64_t p = 0; p < kBand; ++p) {
    rows[p] *= inverse[p];
    for (int64_t q = p + 1; q < kBand; ++q) rows[q] -= rows[p] * block[p * stride + q];
  }
  for (int64_t r = 0; r < kBand; ++r) std::memcpy(columns + r * stride, &rows[r], sizeof(Lane));
}

void solveOne(const double* block, const double* inverse, double* column, int64_t stride, int64_t count) {
  for (int64_t p = 0; p < count; ++p) {
    column[p * stride] *= inverse[p];
    for (int64_t q = p + 1; q < count; ++q) column[q * stride] -= column[p * stride] * block[p * stride + q];
  }
}

}  // namespace

bool factorToTriangle(DoubleMatrix& g) {
  const int64_t n = g.rows;
  double inverse[kBand];
  for (int64_t first = 0; first < n; first += kBand) {
    const int64_t count = std::min(kBand, n - first), next = first + count;
    double* block = g.row(first) + first;
    if (!factorBlock(block, n, count, inverse)) return false;
    int64_t c = next;
    for (; count == kBand && c + kLane <= n; c += kLane) solveEight(block, inverse, g.row(first) + c, n);
    for (; c < n; ++c) solveOne(block, inverse, g.row(first) + c, n, count);
    if (next == n) break;
    const double* band = g.row(first) + next;
    const SmallOperand rows{band, count, n - next, n, 1}, columns{band, n - next, count, 1, n};
    SmallProduct{.a = columns, .b = rows, .factor = -1, .isAdded = true, .isUpper = true}.into(g.row(next) + next, n);
  }
  for (int64_t i = 1; i < n; ++i) std::fill_n(g.row(i), i, 0.0);
  return true;
}

DoubleMatrix turnedByTriangle(const DoubleMatrix& triangle, const DoubleMatrix& square) {
  const int64_t n = triangle.rows;
  DoubleMatrix half(n, n), out(n, n);
  // Of T S only what is right of the diagonal meets T^T above the result's diagonal.
  SmallProduct{.a = SmallOperand::of(triangle), .b = SmallOperand::of(square), .isUpper = true, .aIsUpper = true}.into(half);
  SmallProduct{.a = SmallOperand::of(half), .b = SmallOperand::transposeOf(triangle), .isUpper = true, .bIsLower = true}.into(out);
  mirrorBelow(out);
  return out;
}

}  // namespace headscope::core
