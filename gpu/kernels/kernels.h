#pragma once
// The kernels, as host functions that launch them on a stream. Matrices are device pointers with a row stride in floats.
#include <cuda_runtime.h>

#include <cstdint>

#include "core/backend/attention_rule.h"
#include "core/model/model_spec.h"
#include "core/tensor/dtype.h"

namespace headscope::gpu {

struct DeviceMatrix {
  float* data;
  int64_t rows, cols, stride;
};

/// What decodeRows needs of a WeightView, with the stored bytes on the device.
struct DeviceWeights {
  const void* stored;
  core::DType dtype;
  int64_t storedCols;
  bool isInByOut;
  int64_t outFirst, outGroupSize, outGroupStride;
  int64_t inFirst, inCount;
  const float* scales;  // device, or null
  int64_t scaleCols, blockRows, blockCols;
};

// Weights (decode.cu)
/// target [count, inCount] = rows [first, first + count) of the view, decoded and scaled.
void decodeRows(const DeviceWeights& weights, int64_t first, int64_t count, float* target, cudaStream_t stream);
/// The same rounded to bf16.
void decodeRows(const DeviceWeights& weights, int64_t first, int64_t count, uint16_t* target, cudaStream_t stream);
/// target [rows, heads * pitch] = x [rows, heads * width] rounded to bf16, each head followed by zeros up to the pitch.
void toBf16(const DeviceMatrix& x, int64_t heads, int64_t pitch, uint16_t* target, cudaStream_t stream);

/// target [kBf16Terms, rows, cols] = the terms of x [rows, cols], smallest first (gpu/arithmetic/bf16_terms.h).
void toBf16Terms(const DeviceMatrix& x, uint16_t* target, cudaStream_t stream);

// Rows (rows.cu)
void addBias(const DeviceMatrix& x, const float* bias, cudaStream_t stream);          // x[n, :] += bias
void scaleColumns(const DeviceMatrix& x, const float* factors, cudaStream_t stream);  // x[n, c] *= factors[c]
void addRows(const DeviceMatrix& x, const DeviceMatrix& y, cudaStream_t stream);      // x += y
void scaleAll(const DeviceMatrix& x, float factor, cudaStream_t stream);
void softcapAll(const DeviceMatrix& x, float cap, cudaStream_t stream);
void activateAll(const DeviceMatrix& x, core::Activation activation, cudaStream_t stream);
void gateAll(const DeviceMatrix& x, const DeviceMatrix& gate, core::Activation activation, cudaStream_t stream);
void copyRows(const DeviceMatrix& from, const DeviceMatrix& to, cudaStream_t stream);
void normRows(const DeviceMatrix& x, bool isLayerNorm, float eps, int64_t groups, const float* gain, const float* bias,
              const DeviceMatrix& out, cudaStream_t stream);
/// Rotary positions of row n at firstPosition + n; frequencies [dims / 2].
struct RopeTurns {
  int64_t heads, headWidth, offset, dims;
  bool isInterleaved, isInverse;
  const float* frequencies;
  int64_t firstPosition;
  double magnitude;
};
void ropeRows(const DeviceMatrix& x, const RopeTurns& turns, cudaStream_t stream);
void copyHeads(const DeviceMatrix& from, int64_t fromHeads, const DeviceMatrix& to, int64_t heads, int64_t toOffset, cudaStream_t stream);
void gatherRows(const DeviceMatrix& x, const int32_t* rows, const DeviceMatrix& out, cudaStream_t stream);
void scatterRows(const DeviceMatrix& x, const int32_t* rows, const float* weights, const DeviceMatrix& out, cudaStream_t stream);
void rowNorms(const DeviceMatrix& x, float* norms, cudaStream_t stream);
/// Running log-sum-exp over tiles of a row: state max [N], sum [N] (double); picks targets that fall inside [first, first + cols).
void summariseLogits(const DeviceMatrix& tile, int64_t first, const int32_t* targets, float* max, double* sum, float* target,
                     cudaStream_t stream);

// Attention (attention.cu). Scores are raw products q.k of rows [firstRow, firstRow + rows) and keys [firstKey, firstKey + keys),
// for `heads` heads, each [rows, keys] with row stride `pitch`, one after another.
struct ScoreBlock {
  float* scores;
  int64_t heads, firstRow, rows, firstKey, keys;
  int64_t pitch;
  int64_t count;  // N
  float scale, softcap;
  int64_t window;
  bool isCausal;
};
/// Scores into weights (masked ones 0), and each row's statistics into [heads, N] arrays at firstRow.
void softmaxRows(const ScoreBlock& block, float* max, float* logSumExp, float* entropy, float* distance, cudaStream_t stream);
/// Scores into weights with statistics known already.
void weightsFromStatistics(const ScoreBlock& block, const float* logSumExp, cudaStream_t stream);
/// Adds up each key's weights over the block's rows: mass[firstKey + j] += ...; one head.
void addColumnMass(const ScoreBlock& block, float* mass, cudaStream_t stream);
/// Cells of a tile [rows, cols] of `level`, whose first cell is (firstRow, firstCol).
struct CellGrid {
  float* cells;
  int64_t level, firstRow, firstCol, rows, cols;
  bool isMean;
};
/// Pools one head's weights of a block into the cells it touches: largest, or sums for the mean. The block starts on a cell's first
/// key, and its rows are whole cells or lie inside one.
void poolWeights(const ScoreBlock& block, const CellGrid& grid, cudaStream_t stream);
/// Sums into means: each cell divided by how many entries of the N x N map it holds.
void finishMeans(const CellGrid& grid, int64_t count, cudaStream_t stream);
/// Sum over listed keys of A[i, j], out [H, rows]. isRounded: q and k as bf16, as the scores were made.
void patternSums(const DeviceMatrix& query, const DeviceMatrix& key, const core::AttentionRule& rule, int64_t count, const float* logSumExp,
                 int64_t firstRow, int64_t rows, const int64_t* starts, const int32_t* cols, bool isRounded, float* out,
                 cudaStream_t stream);

// Keys needed (keys_needed.cu)
struct KeyShares {
  const double* shares;  // [count], ascending
  int64_t count;
  const float* keyWeights;  // [heads, N], or null
  float *plain, *weighted;  // [heads * count, N]; weighted where there are key weights
};
/// For every row of the block's raw scores the number of keys that reach each share. Scores are used up.
void keysNeeded(const ScoreBlock& block, const float* logSumExp, const KeyShares& shares, cudaStream_t stream);

}  // namespace headscope::gpu
