#pragma once
// FloatProducts: cuBLAS products in float32 while it lives, whatever precision the backend was set to: analyses of weights don't
// follow the forward pass's precision. Held under the backend's lock.
#include "gpu/cuda_backend.h"

namespace headscope::gpu {

class CudaBackend::FloatProducts {
 public:
  explicit FloatProducts(CudaBackend& backend) : backend_(backend) {
    check(cublasSetMathMode(backend.blas(), CUBLAS_DEFAULT_MATH), "setting the precision");
  }
  ~FloatProducts() {
    const bool isTf32 = backend_.precision_ == core::Precision::Tf32;
    cublasSetMathMode(backend_.blas(), isTf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH);
  }
  FloatProducts(const FloatProducts&) = delete;
  FloatProducts& operator=(const FloatProducts&) = delete;

 private:
  CudaBackend& backend_;
};

}  // namespace headscope::gpu
