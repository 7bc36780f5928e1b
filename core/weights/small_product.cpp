#include "core/weights/small_product.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "core/tensor/turn_over.h"

namespace headscope::core {
namespace {

typedef double Lane __attribute__((vector_size(64)));
constexpr int64_t kLane = 8, kRows = 8, kCols = 16;  // a register tile
constexpr int64_t kDepth = 192;                      // of a packed panel: with the rows of A it stays in the first-level cache

Lane load(const double* from) {
  Lane lane;
  std::memcpy(&lane, from, sizeof lane);
  return lane;
}
void store(double* to, const Lane& lane) { std::memcpy(to, &lane, sizeof lane); }

/// panel[p * kCols + j] = b(first + p, col + j), zero beyond B's last column.
void pack(const SmallOperand& b, int64_t first, int64_t depth, int64_t col, double* panel) {
  const int64_t cols = std::min(kCols, b.cols - col);
  const double* from = b.data + first * b.rowStride + col * b.colStride;
  int64_t p = 0;
  if (cols == kCols && b.colStride == 1) {
    for (; p < depth; ++p) std::memcpy(panel + p * kCols, from + p * b.rowStride, kCols * sizeof(double));
  } else if (cols == kCols && b.rowStride == 1) {
    turnOver(from, kCols, depth, b.colStride, panel, kCols), p = depth;
  }
  for (; p < depth; ++p) {
    for (int64_t j = 0; j < kCols; ++j) panel[p * kCols + j] = j < cols ? from[p * b.rowStride + j * b.colStride] : 0.0;
  }
}

/// c [kCount, kCols] = (isAdded ? c : 0) + factor a panel.
template <int64_t kCount>
void tile(const double* a, int64_t rowStride, int64_t colStride, const double* panel, int64_t depth, double factor, bool isAdded, double* c,
          int64_t stride) {
  Lane sums[kCount][2] = {};
  for (int64_t p = 0; p < depth; ++p, a += colStride, panel += kCols) {
    const Lane low = load(panel), high = load(panel + kLane);
    for (int64_t r = 0; r < kCount; ++r) {
      const double entry = a[r * rowStride];
      sums[r][0] += low * entry;
      sums[r][1] += high * entry;
    }
  }
  for (int64_t r = 0; r < kCount; ++r) {
    double* at = c + r * stride;
    for (int half = 0; half < 2; ++half)
      store(at + half * kLane, isAdded ? load(at + half * kLane) + sums[r][half] * factor : sums[r][half] * factor);
  }
}

void rowsOf(int64_t rows, const double* a, int64_t rowStride, int64_t colStride, const double* panel, int64_t depth, double factor,
            bool isAdded, double* c, int64_t stride) {
  if (rows == kRows) {
    if (colStride == 1) {
      tile<kRows>(a, rowStride, 1, panel, depth, factor, isAdded, c, stride);
    } else {
      tile<kRows>(a, 1, colStride, panel, depth, factor, isAdded, c, stride);
    }
    return;
  }
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) tile<4>(a + r * rowStride, rowStride, colStride, panel, depth, factor, isAdded, c + r * stride, stride);
  for (; r < rows; ++r) tile<1>(a + r * rowStride, rowStride, colStride, panel, depth, factor, isAdded, c + r * stride, stride);
}

}  // namespace

void SmallProduct::into(double* c, int64_t stride) const {
  assert(a.cols == b.rows && (a.rowStride == 1 || a.colStride == 1) && (b.rowStride == 1 || b.colStride == 1));
  alignas(64) double panel[kDepth * kCols];
  alignas(64) double part[kRows * kCols];
  const int64_t m = a.rows, n = b.cols, k = a.cols;
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t r = 0; !isAdded && r < m; ++r) std::fill_n(c + r * stride, n, 0.0);
    return;
  }
  for (int64_t col = 0; col < n; col += kCols) {
    const int64_t cols = std::min(kCols, n - col), lastRow = isUpper ? std::min(m, col + cols) : m;
    const int64_t begin = bIsLower ? std::min(col, k) : 0;
    for (int64_t first = begin; first < k || first == begin; first += kDepth) {
      const int64_t depth = std::min(kDepth, k - first);
      if (depth > 0) pack(b, first, depth, col, panel);
      for (int64_t row = 0; row < lastRow; row += kRows) {
        const int64_t rows = std::min(kRows, m - row), skipped = aIsUpper ? std::clamp<int64_t>(row - first, 0, depth) : 0;
        const double *from = a.data + row * a.rowStride + (first + skipped) * a.colStride, *b16 = panel + skipped * kCols;
        double* to = c + row * stride + col;
        const bool adds = isAdded || first > begin;
        if (cols == kCols) {
          rowsOf(rows, from, a.rowStride, a.colStride, b16, depth - skipped, factor, adds, to, stride);
          continue;
        }
        rowsOf(rows, from, a.rowStride, a.colStride, b16, depth - skipped, factor, false, part, kCols);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t j = 0; j < cols; ++j) to[r * stride + j] = (adds ? to[r * stride + j] : 0.0) + part[r * kCols + j];
        }
      }
    }
  }
}

void addWithTranspose(const DoubleMatrix& a, const DoubleMatrix& b, DoubleMatrix& g) {
  SmallProduct{.a = SmallOperand::of(a), .b = SmallOperand::of(b), .isAdded = true, .isUpper = true}.into(g);
  SmallProduct{.a = SmallOperand::transposeOf(b), .b = SmallOperand::transposeOf(a), .isAdded = true, .isUpper = true}.into(g);
  mirrorBelow(g);
}

DoubleMatrix within(const DoubleMatrix& c, const DoubleMatrix& g) {
  const DoubleMatrix half = multiply(g, c);
  DoubleMatrix out(c.cols, c.cols);
  SmallProduct{.a = SmallOperand::transposeOf(c), .b = SmallOperand::of(half), .isUpper = true}.into(out);
  mirrorBelow(out);
  return out;
}

void mirrorBelow(DoubleMatrix& a) {
  const int64_t n = a.rows;
  for (int64_t i = 0; i < n; i += kLane) {
    const int64_t next = std::min(i + kLane, n);
    for (int64_t r = i; r < next; ++r) {
      for (int64_t c = i; c < r; ++c) a(r, c) = a(c, r);
    }
    if (next < n) turnOver(a.row(i) + next, next - i, n - next, n, a.row(next) + i, n);
  }
}

}  // namespace headscope::core
