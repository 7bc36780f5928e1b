// Tiles of scores and weights of one head: what every operation on maps starts from.
#include <cblas.h>

#include <algorithm>

#include "core/backend/cpu/attention_kernels.h"
#include "core/backend/cpu/vector_math.h"

namespace headscope::core::cpu {

HeadView LayerView::head(int64_t h) const {
  const int64_t g = rule.kvHeadOf(h);
  return {query.colsFrom(h * rule.keyWidth, rule.keyWidth), key.colsFrom(g * rule.keyWidth, rule.keyWidth),
          value.colsFrom(g * rule.valueWidth, rule.valueWidth), rule};
}

KeyRange visibleKeys(const AttentionRule& rule, int64_t firstQuery, int64_t queries, int64_t count) {
  return {rule.firstKey(firstQuery), rule.endKey(firstQuery + queries - 1, count)};
}

void scoreTile(const HeadView& head, int64_t firstQuery, int64_t queries, int64_t firstKey, int64_t keys, float* scores, int64_t stride) {
  if (queries == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, static_cast<int>(keys), static_cast<int>(head.key.cols), static_cast<float>(head.rule.scale),
                head.key.row(firstKey), static_cast<int>(head.key.stride), head.query.row(firstQuery), 1, 0.0f, scores, 1);
  } else {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(queries), static_cast<int>(keys), static_cast<int>(head.key.cols),
                static_cast<float>(head.rule.scale), head.query.row(firstQuery), static_cast<int>(head.query.stride),
                head.key.row(firstKey), static_cast<int>(head.key.stride), 0.0f, scores, static_cast<int>(stride));
  }
  if (head.rule.softcap <= 0) return;
  const float cap = static_cast<float>(head.rule.softcap);
  for (int64_t r = 0; r < queries; ++r) {
    float* row = scores + r * stride;
#pragma omp simd
    for (int64_t c = 0; c < keys; ++c) row[c] = cap * hyperbolicTangent(row[c] / cap);
  }
}

void weightTile(const HeadView& head, const float* logSumExp, int64_t firstQuery, int64_t queries, int64_t firstKey, int64_t keys,
                float* weights, int64_t stride) {
  scoreTile(head, firstQuery, queries, firstKey, keys, weights, stride);
  for (int64_t r = 0; r < queries; ++r) {
    const int64_t query = firstQuery + r;
    const int64_t low = std::clamp<int64_t>(head.rule.firstKey(query) - firstKey, 0, keys);
    const int64_t high = std::clamp<int64_t>(head.rule.endKey(query, head.count()) - firstKey, low, keys);
    float* row = weights + r * stride;
    const float shift = logSumExp[query];
    std::fill_n(row, low, 0.0f);
#pragma omp simd
    for (int64_t c = low; c < high; ++c) row[c] = exponential(row[c] - shift);
    std::fill(row + high, row + keys, 0.0f);
  }
}

}  // namespace headscope::core::cpu
