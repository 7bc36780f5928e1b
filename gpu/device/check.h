#pragma once
// CUDA and cuBLAS results into core::Error: what failed, on which device, and whether memory was short.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <string>

#include "core/base/error.h"

namespace headscope::gpu {

inline void check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return;
  const bool isMemory = result == cudaErrorMemoryAllocation;
  if (isMemory) cudaGetLastError();  // out of memory is not sticky: the next call may work
  throw core::Error(std::string(what) + " failed: " + cudaGetErrorString(result), "CUDA device",
                    isMemory ? "use fewer tokens or layers, or --device cpu" : "run again with --device cpu");
}

inline void check(cublasStatus_t result, const char* what) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  throw core::Error(std::string(what) + " failed: " + cublasGetStatusString(result), "CUDA device", "run again with --device cpu");
}

/// After a kernel launch.
inline void checkLaunch(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace headscope::gpu
