#pragma once
// Attention of a layer in one kernel on tensor cores, for the bf16 precision: queries, keys and values rounded to bf16, both products with
// float32 sums, softmax and statistics in float32, weights rounded to bf16 for the second product alone. As FlashAttention-2 (Dao 2023)
// has it: 64 or 128 queries a block of four warps (128 where that leaves none of the card idle), 16 or 32 rows a warp, tiles of 64 keys
// whose copies into shared memory run beside the products. Widths to kWidestHead. It takes the layer from which TileLayer
// (tile_attention.h) is made, and gives the same statistics.
#include <cuda_runtime.h>

#include <cstdint>

#include "gpu/kernels/tile_attention.h"

namespace headscope::gpu {

/// bf16 numbers from one head to the next: copies take eight at a time.
HEADSCOPE_HD int64_t tensorPitch(int64_t width) { return (width + 7) / 8 * 8; }

/// Packed heads: row n of head h at n * heads * pitch + h * pitch, zeros behind each head's width. count > 0.
struct TensorLayer {
  const uint16_t* query;  // [count, H * tensorPitch(k)]
  const uint16_t* key;    // [count, G * tensorPitch(k)]
  const uint16_t* value;  // [count, G * tensorPitch(v)]
  float* out;             // [count, H*v]
  int64_t outStride, count;
  core::AttentionRule rule;
  TileStatistics statistics;
  int64_t firstHead, heads;
};
void attendTensors(const TensorLayer& layer, cudaStream_t stream);

}  // namespace headscope::gpu
