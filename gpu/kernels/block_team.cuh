#pragma once
// The block's threads as a team (gpu/arithmetic/team.h); its warps are the groups. blockDim.x is a multiple of 32.
#include "gpu/arithmetic/team.h"
#include "gpu/kernels/reduce.cuh"

namespace headscope::gpu {

struct WarpGroup {
  __device__ int lane() const { return threadIdx.x & 31; }
  __device__ int size() const { return 32; }
  __device__ bool isFirst() const { return lane() == 0; }
  __device__ double sum(double x) const { return warpReduce(x, Sum{}); }
};

class BlockTeam {
 public:
  template <typename F>
  __device__ void forEach(int n, F f) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
  template <typename F>
  __device__ bool forEachGroup(int n, F f) {
    bool isAny = false;
    for (int i = threadIdx.x >> 5; i < n; i += blockDim.x >> 5) isAny = f(WarpGroup{}, i) || isAny;
    return __syncthreads_or(isAny) != 0;
  }
  template <typename F>
  __device__ double sum(int n, F f) {
    double part = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) part += f(i);
    return blockReduce(part, 0.0, Sum{});
  }
  template <typename F>
  __device__ double max(int n, F f) {
    double top = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
      const double value = f(i);
      top = value > top ? value : top;
    }
    return blockReduce(top, 0.0, Max{});
  }
  template <typename F>
  __device__ bool any(int n, F f) {
    bool isAny = false;
    for (int i = threadIdx.x; i < n; i += blockDim.x) isAny = f(i) || isAny;
    return __syncthreads_or(isAny) != 0;
  }
  __device__ void barrier() { __syncthreads(); }
};

}  // namespace headscope::gpu
