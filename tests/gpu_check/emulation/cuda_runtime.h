#pragma once
// A stand-in for CUDA's runtime, so that gpu/ runs on a machine without a card, kernels and all: device memory is host memory between
// guards, a block's threads are fibers that meet at barriers and shuffles, blocks and launches come one after another. Right or wrong as
// the kernels' own code is; says nothing of a compiler for cards, of speed, of memory order between blocks.
//
//   EMULATED_BACKWARDS=1  threads of a block in reverse order, which shows steps that lack a barrier
//   EMULATED_MIB=n        of device memory (default: 4096)
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)
/// kernel<<<grid, block, shared, stream>>>(arguments), as emulation/kernels.sed rewrites it.
#define EMULATED_LAUNCH(kernel, ...) (emulation::Launch{__VA_ARGS__} % [&](auto... arguments) { kernel(arguments...); })

using std::max;
using std::min;

struct EmulatedIndex {
  unsigned x;
};
extern EmulatedIndex threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();
int __syncthreads_or(int value);

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorNoDevice = 100 };
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold };
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaMemPool_t = struct EmulatedPool*;
struct cudaDeviceProp {
  char name[64];
  int major, minor;
};
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

cudaError_t cudaMallocAsync(void** place, size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* place, cudaStream_t stream);
cudaError_t cudaMallocHost(void** place, size_t bytes);
cudaError_t cudaFreeHost(void* place);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* card, int device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);

inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, size_t toPitch, const void* from, size_t fromPitch, size_t width, size_t height,
                                     cudaMemcpyKind, cudaStream_t) {
  for (size_t r = 0; r < height; ++r)
    std::memcpy(static_cast<char*>(to) + r * toPitch, static_cast<const char*>(from) + r * fromPitch, width);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) { return *pool = nullptr, cudaSuccess; }
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return *stream = reinterpret_cast<cudaStream_t>(8), cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = reinterpret_cast<cudaEvent_t>(8), cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

namespace emulation {

/// Bytes that one block may have, as on a card of capability 9.0.
inline constexpr size_t kSharedBytes = 227 << 10, kSharedUnasked = 48 << 10;

struct Launch {
  unsigned grid, block;
  size_t shared;
  cudaStream_t stream;
};
void run(const Launch& launch, const void* kernel, const std::function<void()>& body);
void allowShared(const void* kernel, size_t bytes);

template <typename Body>
auto operator%(const Launch& launch, Body body) {
  return [=](auto... arguments) { run(launch, nullptr, [&] { body(arguments...); }); };
}

void* dynamicShared();
template <typename T>
T* dynamicShared() {
  return static_cast<T*>(dynamicShared());
}

/// The value that the lane `step` away gives in the same call.
uint64_t exchange(uint64_t mine, unsigned step);
/// What all 32 lanes give in the same call, one after another; at most kLaneBytes each.
inline constexpr size_t kLaneBytes = 32;
const unsigned char* ofWarp(const void* mine, size_t bytes);
/// Copies that a thread makes when it waits for them: zeros from null.
void copyLater(void* to, const void* from, size_t bytes);
void endCopyGroup();
void waitForCopies(size_t groupsLeft);
[[noreturn]] void misaligned();

}  // namespace emulation

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned step) {
  static_assert(sizeof(T) <= sizeof(uint64_t) && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = emulation::exchange(bits, step);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, cudaFuncAttribute, int bytes) {
  emulation::allowShared(nullptr, static_cast<size_t>(bytes));
  return cudaSuccess;
}
