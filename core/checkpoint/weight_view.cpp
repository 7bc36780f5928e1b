#include "core/checkpoint/weight_view.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "core/tensor/turn_over.h"

namespace headscope::core {
namespace {

constexpr int64_t kTile = 64;

/// Multiplies decoded stored elements [row, col .. col + count) by their block factors.
void applyScales(const WeightView& view, int64_t row, int64_t col, int64_t count, float* values) {
  if (view.scales == nullptr) return;
  for (int64_t done = 0; done < count;) {
    const int64_t at = col + done;
    const int64_t run = std::min(count - done, view.blockCols - at % view.blockCols);
    const float factor = view.scaleAt(row, at);
    for (int64_t i = 0; i < run; ++i) values[done + i] *= factor;
    done += run;
  }
}

/// Elements [row, col .. col + count) of the tensor as stored.
void decodeStored(const WeightView& view, int64_t row, int64_t col, int64_t count, float* target) {
  assert(row >= 0 && row < view.storedRows && col >= 0 && col + count <= view.storedCols);
  const auto bytes = static_cast<int64_t>(sizeOf(view.dtype));
  decodeToFloat(view.dtype, view.data + (row * view.storedCols + col) * bytes, count, target);
  applyScales(view, row, col, count, target);
}

/// Stored [in, out]: outputs stored + [0, outputs) by inputs [input, input + inputs), turned round through a small tile.
void decodeTurned(const WeightView& view, int64_t stored, int64_t outputs, int64_t input, int64_t inputs, float* target, int64_t stride) {
  std::array<float, kTile * kTile> tile;  // [input, output]
  for (int64_t o = 0; o < outputs; o += kTile) {
    const int64_t outs = std::min(kTile, outputs - o);
    for (int64_t i = 0; i < inputs; i += kTile) {
      const int64_t ins = std::min(kTile, inputs - i);
      for (int64_t a = 0; a < ins; ++a) decodeStored(view, input + i + a, stored + o, outs, tile.data() + a * kTile);
      turnOver(ConstMatrixView{tile.data(), ins, outs, kTile}, target + o * stride + i, stride);
    }
  }
}

}  // namespace

float WeightView::scaleAt(int64_t storedRow, int64_t storedCol) const {
  if (scales == nullptr) return 1.0f;
  const int64_t index = (storedRow / blockRows) * scaleCols + storedCol / blockCols;
  return decodeOne(scaleType, scales + index * static_cast<int64_t>(sizeOf(scaleType)));
}

WeightView WeightView::inGroups(int64_t groups) const {
  assert(outGroups == 1 && groups > 0 && outGroupSize % groups == 0);
  WeightView view = *this;
  view.outGroups = groups;
  view.outGroupSize = outGroupSize / groups;
  view.outGroupStride = view.outGroupSize;
  return view;
}

WeightView WeightView::outputsFrom(int64_t first, int64_t count) const {
  assert(first >= 0 && count >= 0 && first + count <= outputs());
  WeightView view = *this;
  if (count == 0 || outGroupSize == 0) {
    view.outGroups = 1;
    view.outGroupSize = 0;
    return view;
  }
  view.outFirst = storedOutput(first);
  if (first % outGroupSize == 0 && count % outGroupSize == 0) {
    view.outGroups = count / outGroupSize;
    return view;
  }
  assert(first / outGroupSize == (first + count - 1) / outGroupSize && "a range of outputs that cuts through groups");
  view.outGroups = 1;
  view.outGroupSize = count;
  view.outGroupStride = count;
  return view;
}

WeightView WeightView::withinGroups(int64_t offset, int64_t size) const {
  assert(offset >= 0 && size >= 0 && offset + size <= outGroupSize);
  WeightView view = *this;
  view.outFirst += offset;
  view.outGroupSize = size;
  return view;
}

WeightView WeightView::inputsFrom(int64_t first, int64_t count) const {
  assert(first >= 0 && count >= 0 && first + count <= inCount);
  WeightView view = *this;
  view.inFirst += first;
  view.inCount = count;
  return view;
}

void WeightView::decodeRows(int64_t first, int64_t count, float* target, int64_t stride) const {
  decodeTile(first, count, 0, inCount, target, stride);
}

void WeightView::decodeTile(int64_t first, int64_t count, int64_t inputFirst, int64_t inputCount, float* target, int64_t stride) const {
  assert(first >= 0 && count >= 0 && first + count <= outputs());
  assert(inputFirst >= 0 && inputCount >= 0 && inputFirst + inputCount <= inCount);
  if (count == 0 || inputCount == 0) return;
  for (int64_t r = 0; r < count;) {
    const int64_t inGroup = (first + r) % outGroupSize;
    const int64_t run = std::min(count - r, outGroupSize - inGroup);  // consecutive as stored
    const int64_t stored = storedOutput(first + r);
    if (isInByOut) {
      decodeTurned(*this, stored, run, inFirst + inputFirst, inputCount, target + r * stride, stride);
    } else if (inputCount == storedCols && stride == storedCols && scales == nullptr) {
      decodeToFloat(dtype, data + stored * storedCols * static_cast<int64_t>(sizeOf(dtype)), run * storedCols, target + r * stride);
    } else {
      for (int64_t i = 0; i < run; ++i) decodeStored(*this, stored + i, inFirst + inputFirst, inputCount, target + (r + i) * stride);
    }
    r += run;
  }
}

Matrix WeightView::decode() const {
  Matrix whole(outputs(), inputs());
  decodeRows(0, outputs(), whole.data(), inputs());
  return whole;
}

bool WeightView::isInPlace() const {
  const bool isOneRun = outGroups == 1 || outGroupStride == outGroupSize;
  return dtype == DType::F32 && !isInByOut && scales == nullptr && isOneRun && reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
}

ConstMatrixView WeightView::inPlace() const {
  assert(isInPlace());
  const float* first = reinterpret_cast<const float*>(data) + outFirst * storedCols + inFirst;
  return {first, outputs(), inputs(), storedCols};
}

}  // namespace headscope::core
