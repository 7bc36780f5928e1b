#pragma once
// Sums and maxima over a block, every thread gets the result. One warp's shuffle, then one value a warp through shared memory.
#include <cuda_runtime.h>

namespace headscope::gpu {

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;  // NaN wins
  }
};

template <typename T, typename Combine>
__device__ T warpReduce(T value, Combine combine) {
  for (int step = 16; step > 0; step >>= 1) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
  return value;
}

/// blockDim.x must be a multiple of 32. May be called again at once: it ends with a barrier.
template <typename T, typename Combine>
__device__ T blockReduce(T value, T neutral, Combine combine) {
  __shared__ T partial[32];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  value = warpReduce(value, combine);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = warpReduce(lane < warps ? partial[lane] : neutral, combine);
  __syncthreads();
  return value;
}

}  // namespace headscope::gpu
