#pragma once
// The tiled attention kernel (gpu/arithmetic/attention_tile.h) as host functions that launch it on a stream: a whole layer under the
// model's own rule, and one head under any mask. Widths to kWidestHead; float32.
#include <cuda_runtime.h>

#include <cstdint>

#include "core/backend/attention_rule.h"
#include "gpu/arithmetic/attention_tile.h"

namespace headscope::gpu {

/// Heads [firstHead, firstHead + heads) of a layer; statistics [H, count].
struct TileLayer {
  const float* query;  // [count, H*k]
  const float* key;    // [count, G*k]
  const float* value;  // [count, G*v]
  float* out;          // [count, H*v]
  int64_t queryStride, keyStride, valueStride, outStride;
  int64_t count;  // N
  core::AttentionRule rule;
  TileStatistics statistics;
  int64_t firstHead, heads;
};
void attendLayer(const TileLayer& layer, cudaStream_t stream);

/// One head under a plan (gpu/arithmetic/tile_plan.h), all on the device: rows [firstRow, firstRow + 64 blocks) of the head's queries.
struct TileMask {
  const int64_t *firstColumn, *firstTile;  // [blocks + 1]
  const int32_t* columns;
  const uint64_t* masks;
  int64_t blocks, firstRow;
};
void attendMasked(const TileHead& head, const TileMask& mask, float* logSumExp, cudaStream_t stream);

}  // namespace headscope::gpu
