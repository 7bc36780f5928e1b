#pragma once
// AttentionRule: how one layer's heads turn Q and K into weights: shapes, scale, soft cap and the model's own mask.
// score[i, j] = cap(scale * q_i . k_j), cap(s) = softcap * tanh(s / softcap) where softcap > 0; A = softmax over visible keys.
#include <algorithm>
#include <cstdint>

#include "core/backend/tensor.h"

namespace headscope::core {

struct AttentionRule {
  int64_t heads = 1, kvHeads = 1;        // H, G
  int64_t keyWidth = 0, valueWidth = 0;  // k, v
  double scale = 1.0, softcap = 0.0;     // softcap 0: none
  int64_t window = 0;                    // keys a query sees, itself included (both sides when not causal); 0: all
  bool isCausal = true;

  int64_t kvHeadOf(int64_t head) const { return head * kvHeads / heads; }
  /// Query i of N sees exactly the keys [firstKey(i), endKey(i, N)).
  int64_t firstKey(int64_t query) const { return window > 0 ? std::max<int64_t>(0, query - window + 1) : 0; }
  int64_t endKey(int64_t query, int64_t count) const {
    if (isCausal) return query + 1;
    return window > 0 ? std::min(count, query + window) : count;
  }
};

/// One layer's queries, keys and values after positions.
struct AttentionInput {
  Tensor query;  // [N, H*k]
  Tensor key;    // [N, G*k]
  Tensor value;  // [N, G*v]
  AttentionRule rule;
  int64_t count() const { return query.rows; }  // N
};

/// Statistics of each row of each head's map, [H, N] each.
struct AttentionStatistics {
  Tensor max;        // of the visible scores
  Tensor logSumExp;  // A[i, j] = exp(score[i, j] - logSumExp[i])
  Tensor entropy;    // bits
  Tensor distance;   // sum_j A[i, j] |i - j|
};

}  // namespace headscope::core
