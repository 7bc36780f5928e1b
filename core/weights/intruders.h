#pragma once
// Intruder dimensions of a whole matrix (arXiv 2410.21228): of the top 10 left singular vectors after a change, those whose cosine
// with every left singular vector of the matrix before is below 0.5.
//
// Dense: both decompositions in double. Krylov, for wide matrices, never decomposes one: the top vectors u come from a block Krylov
// space of W' W'^T, and the squared cosines of u with W's vectors are the masses of the spectral measure of W W^T at u, which Lanczos
// from u bounds: with Ritz values in order and their weights w_j, no single vector holds more than max_j (w_j + w_(j+1))
// (Chebyshev, Markov, Stieltjes), and a converged Ritz pair of weight w is a vector with squared cosine w. The ten u start one block
// space of W W^T together: it contains the Lanczos run of each, and its own Ritz pairs converge several times sooner than theirs. A
// vector that neither settles goes on alone, and is in the end counted by its largest weight and reported as undecided.
#include <cstdint>

#include "core/tensor/matrix.h"

namespace headscope::core {

class Backend;
class Job;

inline constexpr int64_t kIntruderVectors = 10;
inline constexpr double kIntruderCosine = 0.5;

struct IntruderCount {
  int64_t intruders = 0;
  int64_t undecided = 0;
};

/// before, after [out, in]. Costs two full decompositions.
IntruderCount denseIntruders(ConstMatrixView before, ConstMatrixView after);
/// Costs some tens of products with each matrix of 16 vectors at once (few where singular values stand apart), and a copy of one.
/// backend: a device for the products; null: here.
IntruderCount krylovIntruders(ConstMatrixView before, ConstMatrixView after, const Job& job, Backend* backend = nullptr);

/// Largest singular value, from the same Krylov space: right to about 1e-4 of itself, better where it stands apart.
double spectralNorm(ConstMatrixView w, const Job& job, Backend* backend = nullptr);

}  // namespace headscope::core
