#pragma once
// CUDA, cuBLAS and cuSOLVER results into core::DeviceFault: what failed, and whether memory was short. Anything else than short
// memory counts as a lost device: after a fault in a kernel nothing that lies on the card can be trusted, and a library that
// failed half way may have changed its operands.
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <string>

#include "core/backend/device_fault.h"

namespace headscope::gpu {

inline void check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return;
  const bool isMemory = result == cudaErrorMemoryAllocation;
  if (isMemory) cudaGetLastError();  // out of memory is not sticky: the next call may work
  throw core::DeviceFault(isMemory ? core::DeviceFault::Kind::OutOfMemory : core::DeviceFault::Kind::Lost,
                          std::string(what) + " failed: " + cudaGetErrorString(result),
                          isMemory ? "use fewer tokens or layers, or --device cpu" : "run again with --device cpu");
}

inline void check(cublasStatus_t result, const char* what) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  throw core::DeviceFault(core::DeviceFault::Kind::Lost, std::string(what) + " failed: " + cublasGetStatusString(result),
                          "run again with --device cpu");
}

inline void check(cusolverStatus_t result, const char* what) {
  if (result == CUSOLVER_STATUS_SUCCESS) return;
  throw core::DeviceFault(core::DeviceFault::Kind::Lost, std::string(what) + " failed: cuSOLVER status " + std::to_string(int{result}),
                          "run again with --device cpu");
}

/// After a kernel launch.
inline void checkLaunch(const char* kernel) { check(cudaGetLastError(), kernel); }

}  // namespace headscope::gpu
