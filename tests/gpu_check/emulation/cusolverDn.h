#pragma once
// The decompositions of cuSOLVER that gpu/ calls, by core's own LAPACK.
#include <algorithm>
#include <utility>
#include <vector>

#include "core/weights/dense.h"
#include "core/weights/lapack.h"
#include "tests/gpu_check/emulation/cublas_v2.h"

enum cusolverStatus_t { CUSOLVER_STATUS_SUCCESS };
enum cusolverEigMode_t { CUSOLVER_EIG_MODE_NOVECTOR, CUSOLVER_EIG_MODE_VECTOR };
struct cusolverDnContext {};
struct cusolverDnParams {};
using cusolverDnHandle_t = cusolverDnContext*;
using cusolverDnParams_t = cusolverDnParams*;

inline cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) { return *handle = new cusolverDnContext, CUSOLVER_STATUS_SUCCESS; }
inline cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) { return delete handle, CUSOLVER_STATUS_SUCCESS; }
inline cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t, cudaStream_t) { return CUSOLVER_STATUS_SUCCESS; }
inline cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t* params) {
  return *params = new cusolverDnParams, CUSOLVER_STATUS_SUCCESS;
}
inline cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params) { return delete params, CUSOLVER_STATUS_SUCCESS; }
inline cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t, cublasFillMode_t, int64_t,
                                                    cudaDataType, const void*, int64_t, cudaDataType, const void*, cudaDataType,
                                                    size_t* onDevice, size_t* onHost) {
  return *onDevice = 1, *onHost = 1, CUSOLVER_STATUS_SUCCESS;
}
inline cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t mode, cublasFillMode_t, int64_t n,
                                         cudaDataType, void* a, int64_t lda, cudaDataType, void* w, cudaDataType, void*, size_t, void*,
                                         size_t, int* info) {
  const int size = static_cast<int>(n), stride = static_cast<int>(lda), length = 66 * size + 1 + 2 * size * size, count = 5 * size + 3;
  std::vector<double> work(static_cast<size_t>(length));
  std::vector<int> iwork(static_cast<size_t>(count));
  dsyevd_(mode == CUSOLVER_EIG_MODE_VECTOR ? "V" : "N", "U", &size, static_cast<double*>(a), &stride, static_cast<double*>(w), work.data(),
          &length, iwork.data(), &count, info);
  return CUSOLVER_STATUS_SUCCESS;
}
inline cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t, cusolverDnParams_t, signed char, signed char, int64_t, int64_t,
                                                    cudaDataType, const void*, int64_t, cudaDataType, const void*, cudaDataType,
                                                    const void*, int64_t, cudaDataType, const void*, int64_t, cudaDataType,
                                                    size_t* onDevice, size_t* onHost) {
  return *onDevice = 1, *onHost = 1, CUSOLVER_STATUS_SUCCESS;
}
/// Values alone, of a matrix that is no wider than high, which cuSOLVER asks for.
inline cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t, cusolverDnParams_t, signed char, signed char, int64_t m, int64_t n,
                                         cudaDataType, void* a, int64_t lda, cudaDataType, void* s, cudaDataType, void*, int64_t,
                                         cudaDataType, void*, int64_t, cudaDataType, void*, size_t, void*, size_t, int* info) {
  headscope::core::DoubleMatrix rows(n, m);
  for (int64_t r = 0; r < n; ++r) std::copy_n(static_cast<const double*>(a) + r * lda, m, rows.row(r));
  const std::vector<double> values = headscope::core::singularValues(std::move(rows));
  std::copy(values.begin(), values.end(), static_cast<double*>(s));
  *info = m < n;
  return CUSOLVER_STATUS_SUCCESS;
}
