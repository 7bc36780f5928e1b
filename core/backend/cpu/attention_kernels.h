#pragma once
// The CPU's operations on attention maps: tiles of scores by sgemm, then row-wise passes in vector code; nothing N x N is held.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/backend/backend.h"

namespace headscope::core::cpu {

/// One head's part of an AttentionInput in host memory.
struct HeadView {
  ConstMatrixView query;  // [N, k]
  ConstMatrixView key;    // [N, k]
  ConstMatrixView value;  // [N, v]
  AttentionRule rule;
  int64_t count() const { return query.rows; }  // N
};

/// A layer's inputs in host memory.
struct LayerView {
  ConstMatrixView query, key, value;  // [N, H*k], [N, G*k], [N, G*v]
  AttentionRule rule;
  int64_t count() const { return query.rows; }
  HeadView head(int64_t h) const;
};

/// Where attention() leaves its row statistics, [H, N] each.
struct StatisticsView {
  MatrixView max, logSumExp, entropy, distance;
};

/// The range of keys that any of the queries [first, first + count) sees.
struct KeyRange {
  int64_t begin = 0, end = 0;
};
KeyRange visibleKeys(const AttentionRule& rule, int64_t firstQuery, int64_t queries, int64_t count);

// scores.cpp
/// scores [queries, keys] after scale and soft cap, unmasked, row stride `stride`.
void scoreTile(const HeadView& head, int64_t firstQuery, int64_t queries, int64_t firstKey, int64_t keys, float* scores, int64_t stride);
/// The same turned into weights by the rows' log-sum-exp, 0 where masked.
void weightTile(const HeadView& head, const float* logSumExp, int64_t firstQuery, int64_t queries, int64_t firstKey, int64_t keys,
                float* weights, int64_t stride);

// attention.cpp
void attention(const LayerView& layer, MatrixView out, const StatisticsView& rows, Job& job);

// map_tile.cpp
Matrix mapTile(const HeadView& head, const float* logSumExp, const TileRequest& request, Job& job);
std::vector<float> columnMass(const HeadView& head, const float* logSumExp, Job& job);

// pattern_sums.cpp
Matrix patternSums(const LayerView& layer, ConstMatrixView logSumExp, const RowPattern& pattern, Job& job);

// keys_needed.cpp
KeysNeeded keysNeeded(const LayerView& layer, ConstMatrixView logSumExp, const Matrix* keyWeights, std::span<const double> shares,
                      Job& job);

/// Scratch floats, uninitialised, 64-byte aligned; one for each task.
inline Matrix scratch(int64_t rows, int64_t cols) { return Matrix(rows, cols); }

}  // namespace headscope::core::cpu
