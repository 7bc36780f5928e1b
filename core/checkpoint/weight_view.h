#pragma once
// WeightView: one linear map's weights inside a mapped checkpoint, as y = x W^T with W [out, in], without copying them.
//
// It hides what families do to storage: Conv1D (stored [in, out]), fused q/k/v (thirds, or rows ordered by head), MLA's
// per-head kv_b_proj, float8 with block scales. A view of one head of a view is again a view. Decoding costs what is
// decoded; the whole matrix is never needed at once. It borrows: the Checkpoint that made it must outlive it.
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/tensor/dtype.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

struct WeightView {
  const std::byte* data = nullptr;  // first byte of the whole stored tensor
  DType dtype = DType::F32;
  int64_t storedRows = 0, storedCols = 0;  // the tensor as stored, row-major
  bool isInByOut = false;                  // stored [in, out] (GPT-2's Conv1D)

  // Which outputs of the stored tensor this view has, in order: `outGroups` groups of `outGroupSize` consecutive outputs,
  // groups `outGroupStride` apart, the first one at `outFirst`. A plain view is one group.
  int64_t outFirst = 0, outGroups = 1, outGroupSize = 0, outGroupStride = 0;
  // Which inputs: a consecutive range.
  int64_t inFirst = 0, inCount = 0;

  // Float8 block scales: W[r, c] = stored[r, c] * scales[(r / blockRows) * scaleCols + c / blockCols]; null when none. They lie
  // in the mapped file too, perhaps unaligned and in another float type: read them with scaleAt.
  const std::byte* scales = nullptr;
  DType scaleType = DType::F32;
  int64_t scaleCols = 0, blockRows = 0, blockCols = 0;

  std::string name;  // tensor name, for errors

  bool empty() const { return data == nullptr; }
  int64_t outputs() const { return outGroups * outGroupSize; }
  int64_t inputs() const { return inCount; }
  /// The stored index of this view's output `r`.
  int64_t storedOutput(int64_t r) const { return outFirst + (r / outGroupSize) * outGroupStride + r % outGroupSize; }

  /// The factor on the stored element [row, col]; 1 without scales.
  float scaleAt(int64_t storedRow, int64_t storedCol) const;

  /// A one-group view seen as `groups` equal groups of consecutive outputs (rows ordered by head).
  WeightView inGroups(int64_t groups) const;
  /// Outputs [first, first + count) of this view; count must stay inside one group or cover whole groups.
  WeightView outputsFrom(int64_t first, int64_t count) const;
  /// Of every group only the `size` outputs that start at `offset` inside it.
  WeightView withinGroups(int64_t offset, int64_t size) const;
  /// Inputs [first, first + count).
  WeightView inputsFrom(int64_t first, int64_t count) const;

  /// Decodes rows (outputs) [first, first + count) to `target` [count, inputs()], row stride `stride` floats.
  void decodeRows(int64_t first, int64_t count, float* target, int64_t stride) const;
  /// The same for a range of inputs: [count, inputCount].
  void decodeTile(int64_t first, int64_t count, int64_t inputFirst, int64_t inputCount, float* target, int64_t stride) const;
  /// The whole view decoded, [outputs, inputs].
  Matrix decode() const;
  /// True when rows can be used in place: float32, [out, in], one group, aligned. inPlace() is then W with row stride.
  bool isInPlace() const;
  ConstMatrixView inPlace() const;
};

}  // namespace headscope::core
