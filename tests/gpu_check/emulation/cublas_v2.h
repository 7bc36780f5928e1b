#pragma once
// The products of cuBLAS that gpu/ calls, as plain loops over column-major matrices.
#include <cstdint>
#include <cstring>

#include "tests/gpu_check/emulation/cuda_runtime.h"

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasFillMode_t { CUBLAS_FILL_MODE_UPPER };
enum cublasMath_t { CUBLAS_DEFAULT_MATH, CUBLAS_TF32_TENSOR_OP_MATH };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT };
enum cudaDataType { CUDA_R_32F, CUDA_R_64F, CUDA_R_16BF };
struct cublasContext {};
using cublasHandle_t = cublasContext*;

inline cublasStatus_t cublasCreate(cublasHandle_t* handle) { return *handle = new cublasContext, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasDestroy(cublasHandle_t handle) { return delete handle, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, size_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
inline const char* cublasGetStatusString(cublasStatus_t) { return "fine"; }

namespace emulation {

inline float number(float x) { return x; }
inline double number(double x) { return x; }
inline float number(uint16_t bf16) {
  const uint32_t bits = static_cast<uint32_t>(bf16) << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <typename In, typename Out>
cublasStatus_t gemm(cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k, Out alpha, const In* a, int64_t lda,
                    const In* b, int64_t ldb, Out beta, Out* c, int64_t ldc) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) {
      Out sum = 0;
      for (int64_t p = 0; p < k; ++p)
        sum += number(ta == CUBLAS_OP_N ? a[i + p * lda] : a[p + i * lda]) * number(tb == CUBLAS_OP_N ? b[p + j * ldb] : b[j + p * ldb]);
      Out& to = c[i + j * ldc];
      to = beta == 0 ? alpha * sum : alpha * sum + beta * to;
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace emulation

inline cublasStatus_t cublasSgemm_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
                                     const float* alpha, const float* a, int64_t lda, const float* b, int64_t ldb, const float* beta,
                                     float* c, int64_t ldc) {
  return emulation::gemm(ta, tb, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc);
}
inline cublasStatus_t cublasDgemm_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
                                     const double* alpha, const double* a, int64_t lda, const double* b, int64_t ldb, const double* beta,
                                     double* c, int64_t ldc) {
  return emulation::gemm(ta, tb, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc);
}
inline cublasStatus_t cublasSgemmBatched_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
                                            const float* alpha, const float* const* a, int64_t lda, const float* const* b, int64_t ldb,
                                            const float* beta, float* const* c, int64_t ldc, int64_t count) {
  for (int64_t i = 0; i < count; ++i) emulation::gemm(ta, tb, m, n, k, *alpha, a[i], lda, b[i], ldb, *beta, c[i], ldc);
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSgemmStridedBatched_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n,
                                                   int64_t k, const float* alpha, const float* a, int64_t lda, long long int strideA,
                                                   const float* b, int64_t ldb, long long int strideB, const float* beta, float* c,
                                                   int64_t ldc, long long int strideC, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    emulation::gemm(ta, tb, m, n, k, *alpha, a + i * strideA, lda, b + i * strideB, ldb, *beta, c + i * strideC, ldc);
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDgemmBatched_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
                                            const double* alpha, const double* const* a, int64_t lda, const double* const* b, int64_t ldb,
                                            const double* beta, double* const* c, int64_t ldc, int64_t count) {
  for (int64_t i = 0; i < count; ++i) emulation::gemm(ta, tb, m, n, k, *alpha, a[i], lda, b[i], ldb, *beta, c[i], ldc);
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDgemmStridedBatched_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n,
                                                   int64_t k, const double* alpha, const double* a, int64_t lda, long long int strideA,
                                                   const double* b, int64_t ldb, long long int strideB, const double* beta, double* c,
                                                   int64_t ldc, long long int strideC, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    emulation::gemm(ta, tb, m, n, k, *alpha, a + i * strideA, lda, b + i * strideB, ldb, *beta, c + i * strideC, ldc);
  return CUBLAS_STATUS_SUCCESS;
}
/// bf16 factors into float32, the only kind that gpu/ asks for.
inline cublasStatus_t cublasGemmEx_64(cublasHandle_t, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n, int64_t k,
                                      const void* alpha, const void* a, cudaDataType, int64_t lda, const void* b, cudaDataType, int64_t ldb,
                                      const void* beta, void* c, cudaDataType, int64_t ldc, cublasComputeType_t, cublasGemmAlgo_t) {
  return emulation::gemm(ta, tb, m, n, k, *static_cast<const float*>(alpha), static_cast<const uint16_t*>(a), lda,
                         static_cast<const uint16_t*>(b), ldb, *static_cast<const float*>(beta), static_cast<float*>(c), ldc);
}
inline cublasStatus_t cublasGemmBatchedEx_64(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int64_t m, int64_t n,
                                             int64_t k, const void* alpha, const void* const* a, cudaDataType aType, int64_t lda,
                                             const void* const* b, cudaDataType bType, int64_t ldb, const void* beta, void* const* c,
                                             cudaDataType cType, int64_t ldc, int64_t count, cublasComputeType_t compute,
                                             cublasGemmAlgo_t algorithm) {
  for (int64_t i = 0; i < count; ++i)
    cublasGemmEx_64(handle, ta, tb, m, n, k, alpha, a[i], aType, lda, b[i], bType, ldb, beta, c[i], cType, ldc, compute, algorithm);
  return CUBLAS_STATUS_SUCCESS;
}
