#pragma once
// The bytes behind a WeightView, as they lie in the mapped file: of the whole stored tensor, whatever part of it the view has.
#include <cstddef>
#include <span>

#include "core/checkpoint/weight_view.h"

namespace headscope::core {

inline std::span<const std::byte> storedSpan(const WeightView& w) {
  return {w.data, static_cast<size_t>(w.storedRows * w.storedCols) * sizeOf(w.dtype)};
}

/// Its block scales; empty without.
inline std::span<const std::byte> scaleSpan(const WeightView& w) {
  if (w.scales == nullptr) return {};
  const int64_t rows = (w.storedRows + w.blockRows - 1) / w.blockRows;
  return {w.scales, static_cast<size_t>(rows * w.scaleCols) * sizeOf(w.scaleType)};
}

}  // namespace headscope::core
