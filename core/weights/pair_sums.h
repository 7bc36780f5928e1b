#pragma once
// Sums over pairs of thin matrices, here on the CPU: what composition is made of. See Backend::addPairSums (weight_ops.h) for what
// is summed. The model axis is cut into square tiles: each head's Gram tile is formed, all pairs of the tile are one product, and
// tiles are added in double.
#include <span>

#include "core/backend/weight_ops.h"
#include "core/weights/unit_pair_sums.h"

namespace headscope::core {

class Job;

/// Blas: float32; tiles run side by side, each thread keeps one tile of every head. MatrixUnit: tiles one after the other, in the layout of
/// the processor's matrix unit (matrix_unit.h); heads and pairs of a tile side by side; off by 1e-5 / k of what random heads of width k
/// give.
enum class PairRoute { Blas, MatrixUnit };
/// MatrixUnit where there is one, for models of width 512 and more: below that both take milliseconds.
PairRoute pairRoute(int64_t modelWidth);

/// scratch: of calls that follow each other; null: an own one.
void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job,
                 PairRoute route = PairRoute::Blas, PairScratch* scratch = nullptr);

/// Bytes that tiles of so many heads (writers and readers) take.
double pairTileBytes(PairRoute route, double heads, int64_t side);

}  // namespace headscope::core
