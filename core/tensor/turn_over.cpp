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
void turnBlock(const Number* from, int64_t stride, Number* to, int64_t toStride) {
  Vector a[8];
  for (int r = 0; r < 8; ++r) std::memcpy(&a[r], from + r * stride, sizeof a[r]);
  turnEight(a);
  for (int c = 0; c < 8; ++c) std::memcpy(to + c * toStride, &a[c], sizeof a[c]);
}

template <typename Vector, typename Number>
void turnBlocks(const Number* from, int64_t rows, int64_t cols, int64_t stride, Number* to, int64_t toStride) {
  for (int64_t c = 0; c < cols; c += kSide) {
    for (int64_t r = 0; r < rows; r += kSide) {
      if (r + kSide <= rows && c + kSide <= cols) {
        turnBlock<Vector>(from + r * stride + c, stride, to + c * toStride + r, toStride);
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
