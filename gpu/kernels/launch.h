#pragma once
// Grid sizes. Kernels stride over their grid, so any size works; indices are 64 bit.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace headscope::gpu {

inline constexpr int kBlock = 256;

inline unsigned gridFor(int64_t items, int64_t perBlock = kBlock) {
  return static_cast<unsigned>(std::clamp<int64_t>((items + perBlock - 1) / perBlock, 1, 1 << 20));
}

}  // namespace headscope::gpu
