#pragma once
// Attention rollout (Abnar and Zuidema, "Quantifying attention flow in transformers", ACL 2020, section 3.1): how much of each input
// position's identity reaches a position of a later residual stream, if attention is taken for the only way that information
// moves: R_l = S_l R_{l-1} with S = 0.5 A + 0.5 I, A the mean of a layer's heads, rows normalised. It is not a map of any head.
#include <cstdint>
#include <memory>

#include "core/attention/trace.h"

namespace headscope::core {

/// Row l: the rollout of position `query` over layers 0 to l, [layersRun, N]; each row sums to 1. One pass over all maps in
/// blocks of rows: O(L H N^2 k) work, the memory of one block of each head of one layer (a few MB), never a whole map.
/// Throws Cancelled.
Matrix attentionRollout(const std::shared_ptr<const Trace>& trace, int64_t query, Job& job);

}  // namespace headscope::core
