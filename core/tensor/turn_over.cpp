#include "core/tensor/turn_over.h"

#include <algorithm>
#include <cstring>

namespace headscope::core {
namespace {

constexpr int64_t kSide = 8;
typedef double EightDoubles __attribute__((vector_size(64)));
typedef float EightFloats __attribute__((vector_size(32)));

/// 8 x 8 numbers turned: to[c * toStride + r] = from[r * stride + c].
template <typename Vector, typename Number>
void turnEight(const Number* from, int64_t stride, Number* to, int64_t toStride) {
  Vector a[8], b[8];
  for (int r = 0; r < 8; ++r) std::memcpy(&a[r], from + r * stride, sizeof a[r]);
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
    const Vector low = __builtin_shufflevector(a[c], a[c + 4], 0, 1, 2, 3, 8, 9, 10, 11),
                 high = __builtin_shufflevector(a[c], a[c + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(to + c * toStride, &low, sizeof low), std::memcpy(to + (c + 4) * toStride, &high, sizeof high);
  }
}

template <typename Vector, typename Number>
void turnBlocks(const Number* from, int64_t rows, int64_t cols, int64_t stride, Number* to, int64_t toStride) {
  for (int64_t c = 0; c < cols; c += kSide) {
    for (int64_t r = 0; r < rows; r += kSide) {
      if (r + kSide <= rows && c + kSide <= cols) {
        turnEight<Vector>(from + r * stride + c, stride, to + c * toStride + r, toStride);
        continue;
      }
      for (int64_t i = r; i < std::min(r + kSide, rows); ++i) {
        for (int64_t j = c; j < std::min(c + kSide, cols); ++j) to[j * toStride + i] = from[i * stride + j];
      }
    }
  }
}

}  // namespace

void turnOver(const double* from, int64_t rows, int64_t cols, int64_t stride, double* to, int64_t toStride) {
  turnBlocks<EightDoubles>(from, rows, cols, stride, to, toStride);
}

void turnOver(ConstMatrixView from, float* to, int64_t toStride) {
  turnBlocks<EightFloats>(from.data, from.rows, from.cols, from.stride, to, toStride);
}

}  // namespace headscope::core
