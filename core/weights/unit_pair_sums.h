#pragma once
// addPairSums on the processor's matrix unit (matrix_unit.h). A tile of the model axis: every head's Gram tile is formed and written
// as the next product wants it, readers as left tiles of 16 heads, writers as right ones, and the pairs are one product over the tile's
// entries. An entry passes the vector registers once, to be split.
#include <span>
#include <vector>

#include "core/backend/weight_ops.h"
#include "core/tensor/matrix_unit.h"

namespace headscope::core {

class Job;

/// Gram entries of one tile, kept from call to call: fresh pages cost as much as filling them.
struct PairScratch {
  std::vector<SplitTile> readers, writers;
};

void addPairSumsOnUnit(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, PairScratch& scratch,
                       const Job& job);

/// Bytes of a tile's Gram entries of so many heads.
double unitTileBytes(double heads, int64_t side);

}  // namespace headscope::core
