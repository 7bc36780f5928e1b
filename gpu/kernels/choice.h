#pragma once
// Kernel on blocks of scores of one head whose rows see listed keys, or choose among them (gpu/arithmetic/row_choice.h).
#include <cuda_runtime.h>

#include <cstdint>

#include "core/backend/masked_attention.h"
#include "gpu/arithmetic/row_choice.h"
#include "gpu/kernels/kernels.h"

namespace headscope::gpu {

/// Ranges of keys of a block's rows: row r has [begin[r] - base, begin[r + 1] - base).
struct SeenRanges {
  const core::KeyRange* ranges;
  const size_t* begin;
  size_t base;
};
/// Raw products into weights, unseen and unchosen keys 0; slope: of a linear bias with the block's rows and keys; sums [block.rows].
void chooseRows(const ScoreBlock& block, const SeenRanges& seen, const RowRule& rule, float slope, RowSums* sums, cudaStream_t stream);

}  // namespace headscope::gpu
