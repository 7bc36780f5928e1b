#pragma once
// Sums over pairs of thin matrices, here on the CPU: what composition is made of. See Backend::addPairSums (weight_ops.h) for what
// is summed. The model axis is cut into square tiles. Of a tile every head's Gram entries are formed and written as the next product
// wants them, readers as left tiles of 16 heads, writers as right ones (matrix_unit.h); all pairs are one product over the entries, and
// tiles are added in double. Tiles come one after the other; heads and pairs of a tile run side by side.
#include <span>
#include <vector>

#include "core/backend/weight_ops.h"
#include "core/tensor/matrix_unit.h"

namespace headscope::core {

class Job;

/// Parts where there is a matrix unit, for models of width 512 and more: below that milliseconds are at stake. Parts are off by at most
/// 3e-5 of what random heads of width 1 give, and for wide heads, where errors of random sign meet, by 1e-6.
TileNumbers pairNumbers(int64_t modelWidth);

/// Gram entries of one tile, kept from call to call: fresh pages cost as much as filling them.
struct PairScratch {
  std::vector<MatrixTile> readers, writers;
};

/// scratch: of calls that follow each other; null: an own one.
void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job,
                 TileNumbers numbers = TileNumbers::Whole, PairScratch* scratch = nullptr);

/// Bytes that a tile's Gram entries of so many heads (writers and readers) take.
double pairTileBytes(double heads, int64_t side);

}  // namespace headscope::core
