#pragma once
// CUB's prefix sum over a block.
#include "tests/gpu_check/emulation/cuda_runtime.h"

namespace cub {

template <typename T, int kThreads>
class BlockScan {
 public:
  struct TempStorage {
    T values[kThreads];
  };
  explicit BlockScan(TempStorage& storage) : storage_(storage) {}
  void ExclusiveSum(T input, T& output, T& aggregate) {
    storage_.values[threadIdx.x] = input;
    __syncthreads();
    output = 0, aggregate = 0;
    for (unsigned t = 0; t < kThreads; ++t) {
      if (t == threadIdx.x) output = aggregate;
      aggregate += storage_.values[t];
    }
  }

 private:
  TempStorage& storage_;
};

}  // namespace cub
