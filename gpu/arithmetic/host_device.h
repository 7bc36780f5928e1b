#pragma once
// Marks functions that run on the host and on the device, so that CPU tests cover the arithmetic of the kernels.

#if defined(__CUDACC__)
#define HEADSCOPE_HD __host__ __device__ __forceinline__
#else
#define HEADSCOPE_HD inline
#endif
