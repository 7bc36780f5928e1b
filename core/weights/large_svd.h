#pragma once
// largeSingularValues: singular values of a matrix of thousands of rows in double, right to 1e-15 of the largest, on the pool and in
// pieces of a few tens of milliseconds, so that it can be stopped; LAPACK's own drivers run for a minute and can't be.
//
// Thin QR in panels of columns (LAPACK's dgeqrf on a panel, dlarfb on tiles of the rest); R brought to bidiagonal form in panels of
// columns and rows (as LAPACK's dgebrd, Golub & Kahan 1965); the bidiagonal's values by LAPACK's dlasq1. No squaring anywhere.
// Operations for [k, m]: 2 k^2 (m - k/3), then 8/3 k^3, half of it as products with vectors at the rate of memory.
#include <vector>

#include "core/weights/dense.h"

namespace headscope::core {

class Job;

/// Descending, k of them, of a factor [k, m] with k <= m. Throws Error when it holds NaN or infinite values; Cancelled.
std::vector<double> largeSingularValues(ConstMatrixView factor, const Job& job);

/// thinQrR of dense.h for large factors: R [min(k, m), k] with R^T R = F F^T.
DoubleMatrix largeThinQrR(DoubleMatrix factor, const Job& job);

}  // namespace headscope::core
