#pragma once
// forEach: f(row, col) for every element of a matrix. A block takes a stretch of one row, or several short rows; 64-bit divisions,
// a hundred instructions each, are nowhere, and neighbouring threads have neighbouring columns.
#include "gpu/device/check.h"
#include "gpu/kernels/launch.h"

namespace headscope::gpu {

inline constexpr unsigned kColumnsAThread = 4;

/// widthShift: log2 of the threads that share a row. stretches: of 4 << widthShift columns, in a row. units < 2^32 is 4e12 elements.
template <typename F>
__global__ void forEachKernel(int64_t rows, int64_t cols, unsigned widthShift, unsigned stretches, unsigned units, F f) {
  const unsigned lane = threadIdx.x & ((1u << widthShift) - 1), own = threadIdx.x >> widthShift;
  for (unsigned unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const unsigned group = unit / stretches, stretch = unit - group * stretches;
    const int64_t row = int64_t{group} * (blockDim.x >> widthShift) + own;
    int64_t col = ((int64_t{stretch} * kColumnsAThread) << widthShift) + lane;
    if (row >= rows) continue;
    for (unsigned i = 0; i < kColumnsAThread && col < cols; ++i, col += int64_t{1} << widthShift) f(row, col);
  }
}

template <typename F>
void forEach(int64_t rows, int64_t cols, cudaStream_t stream, const char* name, F f) {
  if (rows <= 0 || cols <= 0) return;
  unsigned shift = 0;
  while ((1u << shift) < kBlock && (int64_t{kColumnsAThread} << shift) < cols) ++shift;
  const int64_t stretch = int64_t{kColumnsAThread} << shift, stretches = (cols + stretch - 1) / stretch, together = kBlock >> shift,
                units = (rows + together - 1) / together * stretches;
  forEachKernel<<<gridFor(units, 1), kBlock, 0, stream>>>(rows, cols, shift, static_cast<unsigned>(stretches), static_cast<unsigned>(units),
                                                          f);
  checkLaunch(name);
}

}  // namespace headscope::gpu
