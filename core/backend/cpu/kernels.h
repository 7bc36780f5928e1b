#pragma once
// The CPU's operations as free functions on host matrices; CpuBackend only unwraps tensors for them. Threads: parallelFor over
// tiles, with BLAS single-threaded inside a tile, so that a cancelled job stops between tiles.
#include <cstdint>
#include <span>
#include <vector>

#include "core/backend/backend.h"

namespace headscope::core::cpu {

// linear.cpp
void linear(ConstMatrixView x, const Linear& weights, Into into, MatrixView out, Job& job);
void embed(const WeightView& table, std::span<const int32_t> ids, float scale, Into into, MatrixView out, Job& job);
LogitSummary logitSummary(ConstMatrixView x, const Linear& unembedding, double softcap, std::span<const int32_t> targets, Job& job);
/// Writes or adds x W[first .. first + count)^T + bias + change for outputs [first, first + count) to out [N, count], single-threaded.
/// `reduced` holds x down^T of every low-rank term.
void linearTile(ConstMatrixView x, const Linear& weights, const std::vector<Matrix>& reduced, int64_t first, int64_t count, Into into,
                MatrixView out);
/// x down^T of every low-rank term, [N, r] each.
std::vector<Matrix> reduceByAdapter(ConstMatrixView x, const Linear& weights, Job& job);

// rows.cpp
void norm(ConstMatrixView x, const NormRule& rule, const NormWeights& weights, MatrixView out, Job& job);
void rope(MatrixView x, const RopeRule& rule, const RopeSpec& spec, Job& job);
void activate(MatrixView x, Activation activation, Job& job);
void gate(MatrixView x, ConstMatrixView gate, Activation activation, Job& job);
void add(MatrixView x, ConstMatrixView y, Job& job);
void scale(MatrixView x, float factor, Job& job);
void softcap(MatrixView x, float cap, Job& job);
void copyHeads(ConstMatrixView from, int64_t fromHeads, MatrixView to, int64_t heads, int64_t toOffset, Job& job);
void gatherRows(ConstMatrixView x, std::span<const int32_t> rows, MatrixView out, Job& job);
void scatterRows(ConstMatrixView x, std::span<const int32_t> rows, std::span<const float> weights, MatrixView out, Job& job);
std::vector<float> rowNorms(ConstMatrixView x, Job& job);

}  // namespace headscope::core::cpu
