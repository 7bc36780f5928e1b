#pragma once
// SubspaceOverlap: which heads of a layer share a space, pair by pair: the projection kernel ||U_1^T U_2||_F^2 / r of orthonormal
// bases of what two heads write (or read), r the smaller of their ranks: 1 where one space holds the other, about k / d for
// unrelated heads. Source: projection kernel, arXiv 2601.10266. Where sharedSubspace() says how small a common space can be, this
// says between whom.
// Costs k^2 d operations a pair in float32, k^2 floats a thread; values are right to about 1e-5.
#include "core/weights/subspace.h"

namespace headscope::core {

/// [heads, heads], symmetric, 1 on the diagonal. NaN for heads with NaN or infinite weights, 0 for zero heads. Throws Cancelled.
Matrix subspaceOverlaps(const HeadWeights& weights, SubspaceSide side, const Job& job);

}  // namespace headscope::core
