#pragma once
// Rotary positions put on and taken off again: x of row m times the rotation by m * frequency, or its exact inverse.
#include <span>

#include "core/model/model_spec.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

/// A copy of x [N, k] with dimensions [first, first + rope.dims) rotated to positions 0 .. N - 1.
Matrix rotated(ConstMatrixView x, const RopeSpec& rope, int64_t first);
/// The exact inverse: what x was before rotated().
Matrix unrotated(ConstMatrixView x, const RopeSpec& rope, int64_t first);

}  // namespace headscope::core
