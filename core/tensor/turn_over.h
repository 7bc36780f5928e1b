#pragma once
// Matrices turned over, rows becoming columns, in blocks of 8 x 8 numbers that stay in registers.
#include <cstdint>

#include "core/tensor/matrix.h"

namespace headscope::core {

/// Eight vectors of eight numbers: a[r][c] and a[c][r] change places.
template <typename Eight>
[[gnu::always_inline]] inline void turnEight(Eight (&a)[8]) {
  Eight b[8];
  for (int r = 0; r < 8; r += 2) {  // pairs of rows
    b[r] = __builtin_shufflevector(a[r], a[r + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    b[r + 1] = __builtin_shufflevector(a[r], a[r + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int r = 0; r < 8; r += 4) {  // of fours
    for (int s = 0; s < 2; ++s) {
      a[r + s] = __builtin_shufflevector(b[r + s], b[r + s + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[r + s + 2] = __builtin_shufflevector(b[r + s], b[r + s + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int c = 0; c < 4; ++c) {
    b[c] = __builtin_shufflevector(a[c], a[c + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    a[c + 4] = __builtin_shufflevector(a[c], a[c + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    a[c] = b[c];
  }
}

/// to[c * toStride + r] = from[r * stride + c] of [rows, cols] numbers.
void turnOver(const double* from, int64_t rows, int64_t cols, int64_t stride, double* to, int64_t toStride);
/// to[c * toStride + r] = from(r, c).
void turnOver(ConstMatrixView from, float* to, int64_t toStride);

}  // namespace headscope::core
