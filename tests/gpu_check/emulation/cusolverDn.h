#pragma once
// The eigenvalue problem of cuSOLVER that gpu/ calls, by the check's own dsyevd.
#include <vector>

#include "core/weights/lapack.h"
#include "tests/gpu_check/emulation/cublas_v2.h"

enum cusolverStatus_t { CUSOLVER_STATUS_SUCCESS };
enum cusolverEigMode_t { CUSOLVER_EIG_MODE_NOVECTOR };
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
inline cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t, cusolverDnParams_t, cusolverEigMode_t, cublasFillMode_t, int64_t n,
                                         cudaDataType, void* a, int64_t lda, cudaDataType, void* w, cudaDataType, void*, size_t, void*,
                                         size_t, int* info) {
  const int size = static_cast<int>(n), stride = static_cast<int>(lda), length = 66 * size + 1, one = 1;
  std::vector<double> work(static_cast<size_t>(length));
  int iwork = 0;
  dsyevd_("N", "U", &size, static_cast<double*>(a), &stride, static_cast<double*>(w), work.data(), &length, &iwork, &one, info);
  return CUSOLVER_STATUS_SUCCESS;
}
