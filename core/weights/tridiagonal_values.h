#pragma once
// Eigenvalues of tridiagonal matrices, several at once: four to a vector, three vectors in turn. A QL step waits for the divisions of the
// one before; steps of other matrices fill the time, so that four take little longer than one and twelve of one size twice as long.
// Root-free QL with implicit shifts (Pal, Walker & Kahan), as LAPACK's dsterf.
#include <span>

#include "core/weights/tridiagonal.h"

namespace headscope::core {

/// Leaves the eigenvalues in each `diagonal`, descending. Entries must be finite, of squares that neither vanish nor overflow. Throws Error
/// where one does not converge (30 steps a value).
void tridiagonalValues(std::span<Tridiagonal> together);

}  // namespace headscope::core
