#pragma once
// KeyProjection: keys seen in two dimensions: their two principal components (centred), and centres in the same plane.
#include "core/base/job.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

struct KeyProjection {
  Matrix keys;                       // [N, 2]
  Matrix centres;                    // [c, 2]
  double explained[2] = {0.0, 0.0};  // share of the keys' variance along each axis
};

/// Costs N k^2. Signs are fixed: each axis' largest entry is positive.
KeyProjection projectKeys(ConstMatrixView keys, ConstMatrixView centres);

}  // namespace headscope::core
