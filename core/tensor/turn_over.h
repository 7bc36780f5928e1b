#pragma once
// Matrices turned over, rows becoming columns, in blocks of 8 x 8 numbers that stay in registers.
#include <cstdint>

#include "core/tensor/matrix.h"

namespace headscope::core {

/// to[c * toStride + r] = from[r * stride + c] of [rows, cols] numbers.
void turnOver(const double* from, int64_t rows, int64_t cols, int64_t stride, double* to, int64_t toStride);
/// to[c * toStride + r] = from(r, c).
void turnOver(ConstMatrixView from, float* to, int64_t toStride);
}  // namespace headscope::core
