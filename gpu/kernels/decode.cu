// Stored weights to float32 rows.
#include "gpu/arithmetic/decode.h"
#include "gpu/device/check.h"
#include "gpu/kernels/kernels.h"
#include "gpu/kernels/launch.h"

namespace headscope::gpu {
namespace {

template <core::DType kType>
__device__ float storedAt(const void* stored, int64_t index) {
  if constexpr (kType == core::DType::F32) return static_cast<const float*>(stored)[index];
  if constexpr (kType == core::DType::F64) return static_cast<float>(static_cast<const double*>(stored)[index]);
  if constexpr (kType == core::DType::F16) return decodeF16(static_cast<const uint16_t*>(stored)[index]);
  if constexpr (kType == core::DType::BF16) return decodeBf16(static_cast<const uint16_t*>(stored)[index]);
  if constexpr (kType == core::DType::F8_E4M3) return decodeE4M3(static_cast<const uint8_t*>(stored)[index]);
  return 0.0f;
}

__device__ void put(float* to, float value) { *to = value; }
__device__ void put(uint16_t* to, float value) { *to = encodeBf16(value); }

template <core::DType kType, typename Target>
__global__ void decodeRowsKernel(DeviceWeights w, int64_t first, int64_t count, Target* target) {
  const int64_t total = count * w.inCount;
  for (int64_t e = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; e < total; e += int64_t{gridDim.x} * blockDim.x) {
    const int64_t r = first + e / w.inCount;
    const int64_t output = w.outFirst + (r / w.outGroupSize) * w.outGroupStride + r % w.outGroupSize;
    const int64_t input = w.inFirst + e % w.inCount;
    const int64_t row = w.isInByOut ? input : output, col = w.isInByOut ? output : input;
    float value = storedAt<kType>(w.stored, row * w.storedCols + col);
    if (w.scales != nullptr) value *= w.scales[(row / w.blockRows) * w.scaleCols + col / w.blockCols];
    put(target + e, value);
  }
}

__global__ void toBf16Kernel(DeviceMatrix x, uint16_t* target) {
  const int64_t total = x.rows * x.cols;
  for (int64_t e = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; e < total; e += int64_t{gridDim.x} * blockDim.x)
    target[e] = encodeBf16(x.data[(e / x.cols) * x.stride + e % x.cols]);
}

template <typename Target>
void decodeAs(const DeviceWeights& w, int64_t first, int64_t count, Target* target, cudaStream_t stream) {
  if (count * w.inCount == 0) return;
  const unsigned grid = gridFor(count * w.inCount);
  switch (w.dtype) {
    case core::DType::F32:
      decodeRowsKernel<core::DType::F32><<<grid, kBlock, 0, stream>>>(w, first, count, target);
      break;
    case core::DType::F64:
      decodeRowsKernel<core::DType::F64><<<grid, kBlock, 0, stream>>>(w, first, count, target);
      break;
    case core::DType::F16:
      decodeRowsKernel<core::DType::F16><<<grid, kBlock, 0, stream>>>(w, first, count, target);
      break;
    case core::DType::BF16:
      decodeRowsKernel<core::DType::BF16><<<grid, kBlock, 0, stream>>>(w, first, count, target);
      break;
    case core::DType::F8_E4M3:
      decodeRowsKernel<core::DType::F8_E4M3><<<grid, kBlock, 0, stream>>>(w, first, count, target);
      break;
    default:
      throw core::Error("weights of type " + std::string(core::nameOf(w.dtype)) + " can't be decoded", "CUDA device");
  }
  checkLaunch("decoding weights");
}

}  // namespace

void decodeRows(const DeviceWeights& w, int64_t first, int64_t count, float* target, cudaStream_t stream) {
  decodeAs(w, first, count, target, stream);
}

void decodeRows(const DeviceWeights& w, int64_t first, int64_t count, uint16_t* target, cudaStream_t stream) {
  decodeAs(w, first, count, target, stream);
}

void toBf16(const DeviceMatrix& x, uint16_t* target, cudaStream_t stream) {
  if (x.rows * x.cols == 0) return;
  toBf16Kernel<<<gridFor(x.rows * x.cols), kBlock, 0, stream>>>(x, target);
  checkLaunch("rounding to bf16");
}

}  // namespace headscope::gpu
