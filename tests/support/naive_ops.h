#pragma once
// What every Backend operation means, as plain loops in double: the reference that all backends are compared with.
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/backend/backend.h"

namespace headscope::tests {

/// Normal numbers times `size`, the same on every machine.
core::Matrix randomMatrix(int64_t rows, int64_t cols, uint64_t seed, double size = 1.0);

using Doubles = std::vector<double>;  // a row-major matrix

/// x W^T + bias with the adapter's change; out [N, outputs]. `before` is what out held when the result is added.
Doubles naiveLinear(core::ConstMatrixView x, const core::Matrix& weights, const core::Linear& linear, const core::Matrix* before);
Doubles naiveNorm(core::ConstMatrixView x, const core::NormRule& rule, const core::NormWeights& weights);
Doubles naiveRope(core::ConstMatrixView x, const core::RopeRule& rule, const core::RopeSpec& spec);
double naiveActivation(core::Activation kind, double x);

/// One head's whole map, [N, N], and its rows' statistics.
struct NaiveMap {
  int64_t count = 0;
  Doubles weights;                            // [N, N]
  Doubles max, logSumExp, entropy, distance;  // [N]
  double at(int64_t i, int64_t j) const { return weights[static_cast<size_t>(i * count + j)]; }
};
NaiveMap naiveMap(core::ConstMatrixView query, core::ConstMatrixView key, const core::AttentionRule& rule);
/// A cell of the map at a level.
double naiveCell(const NaiveMap& map, int64_t level, int64_t row, int64_t col, core::Pooling pooling);
/// Smallest number of the weights that reach share - 1e-9, at most N.
double naiveKeysNeeded(std::vector<double> weights, double share);

}  // namespace headscope::tests
