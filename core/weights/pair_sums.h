#pragma once
// Sums over pairs of thin matrices, here on the CPU: what composition is made of. See Backend::addPairSums (weight_ops.h) for what
// is summed. The model axis is cut into square tiles: each head's Gram tile is formed, all pairs of the tile are one product, and
// tiles are added in double. Tiles run side by side; each keeps one tile of every head.
#include <span>

#include "core/backend/weight_ops.h"

namespace headscope::core {

class Job;

void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job);

}  // namespace headscope::core
