// Stored weights to float32 rows, and float32 to bf16.
#include "gpu/arithmetic/bf16_terms.h"
#include "gpu/arithmetic/decode.h"
#include "gpu/arithmetic/four.h"
#include "gpu/kernels/for_each.cuh"
#include "gpu/kernels/kernels.h"

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

/// Rows [first, first + count) of the view; places inside a stored tensor's sides fit in 32 bits, and so do its blocks.
template <core::DType kType, typename Target>
void decodeType(const DeviceWeights& w, int64_t first, int64_t count, Target* target, cudaStream_t stream) {
  forEach(count, w.inCount, stream, "decoding weights", [=] __device__(int64_t n, int64_t c) {
    const auto r = static_cast<unsigned>(first + n), group = r / static_cast<unsigned>(w.outGroupSize);
    const int64_t output = w.outFirst + group * w.outGroupStride + (r - group * w.outGroupSize);
    const int64_t input = w.inFirst + c;
    const int64_t row = w.isInByOut ? input : output, col = w.isInByOut ? output : input;
    float value = storedAt<kType>(w.stored, row * w.storedCols + col);
    if (w.scales != nullptr) {
      const unsigned blockRow = static_cast<unsigned>(row) / static_cast<unsigned>(w.blockRows),
                     blockCol = static_cast<unsigned>(col) / static_cast<unsigned>(w.blockCols);
      value *= w.scales[blockRow * w.scaleCols + blockCol];
    }
    put(target + n * w.inCount + c, value);
  });
}

template <typename Target>
void decodeAs(const DeviceWeights& w, int64_t first, int64_t count, Target* target, cudaStream_t stream) {
  switch (w.dtype) {
    case core::DType::F32:
      decodeType<core::DType::F32>(w, first, count, target, stream);
      break;
    case core::DType::F64:
      decodeType<core::DType::F64>(w, first, count, target, stream);
      break;
    case core::DType::F16:
      decodeType<core::DType::F16>(w, first, count, target, stream);
      break;
    case core::DType::BF16:
      decodeType<core::DType::BF16>(w, first, count, target, stream);
      break;
    case core::DType::F8_E4M3:
      decodeType<core::DType::F8_E4M3>(w, first, count, target, stream);
      break;
    default:
      throw core::Error("weights of type " + std::string(core::nameOf(w.dtype)) + " can't be decoded", "CUDA device");
  }
}

/// Whether heads of this width can be read four numbers at a time.
bool isInFours(const DeviceMatrix& x, int64_t width) {
  return width % 4 == 0 && x.stride % 4 == 0 && reinterpret_cast<uintptr_t>(x.data) % (4 * sizeof(float)) == 0;
}

}  // namespace

void decodeRows(const DeviceWeights& w, int64_t first, int64_t count, float* target, cudaStream_t stream) {
  decodeAs(w, first, count, target, stream);
}

void decodeRows(const DeviceWeights& w, int64_t first, int64_t count, uint16_t* target, cudaStream_t stream) {
  decodeAs(w, first, count, target, stream);
}

void toBf16(const DeviceMatrix& x, int64_t heads, int64_t pitch, uint16_t* target, cudaStream_t stream) {
  const int64_t width = x.cols / std::max<int64_t>(1, heads);
  if (isInFours(x, width) && pitch % 4 == 0) {
    return forEach(x.rows, heads * pitch / 4, stream, "rounding to bf16", [=] __device__(int64_t r, int64_t e) {
      const unsigned head = static_cast<unsigned>(4 * e) / static_cast<unsigned>(pitch);
      const int64_t c = 4 * e - head * pitch;
      float from[4] = {};
      if (c < width) loadFour(x.data + r * x.stride + head * width + c, from);
      const uint16_t to[4] = {encodeBf16(from[0]), encodeBf16(from[1]), encodeBf16(from[2]), encodeBf16(from[3])};
      storeFour(to, target + r * heads * pitch + 4 * e);
    });
  }
  forEach(x.rows, heads * pitch, stream, "rounding to bf16", [=] __device__(int64_t r, int64_t e) {
    const unsigned head = static_cast<unsigned>(e) / static_cast<unsigned>(pitch);
    const int64_t c = e - head * pitch;
    target[r * heads * pitch + e] = c < width ? encodeBf16(x.data[r * x.stride + head * width + c]) : uint16_t{0};
  });
}

void toBf16Terms(const DeviceMatrix& x, uint16_t* target, cudaStream_t stream) {
  const int64_t all = x.rows * x.cols;
  if (isInFours(x, x.cols)) {
    return forEach(x.rows, x.cols / 4, stream, "splitting into bf16", [=] __device__(int64_t r, int64_t e) {
      float from[4];
      loadFour(x.data + r * x.stride + 4 * e, from);
      uint16_t to[kBf16Terms][4];
      for (int i = 0; i < 4; ++i) {
        const Bf16Terms terms = bf16Terms(from[i]);
        for (int t = 0; t < kBf16Terms; ++t) to[t][i] = terms.term[kBf16Terms - 1 - t];
      }
      for (int t = 0; t < kBf16Terms; ++t) storeFour(to[t], target + t * all + r * x.cols + 4 * e);
    });
  }
  forEach(x.rows, x.cols, stream, "splitting into bf16", [=] __device__(int64_t r, int64_t c) {
    const Bf16Terms terms = bf16Terms(x.data[r * x.stride + c]);
    for (int t = 0; t < kBf16Terms; ++t) target[t * all + r * x.cols + c] = terms.term[kBf16Terms - 1 - t];
  });
}

}  // namespace headscope::gpu
