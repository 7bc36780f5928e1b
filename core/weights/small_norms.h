#pragma once
// Sums, norms and bounds of small matrices in double, eight entries at a time: sums run in eight parts. Single-threaded.
#include "core/weights/dense.h"

namespace headscope::core {

bool isAllFinite(const DoubleMatrix& a);
bool isAllFinite(ConstMatrixView a);
/// The largest |entry|; NaN where one is not finite.
double largestEntry(const DoubleMatrix& a);
/// Of a positive semi-definite matrix [n, n] with finite entries, by Lanczos steps from its heaviest row: from below, within a tenth (its
/// root: a few percent). 12 n^2 operations.
double largestEigenvalue(const DoubleMatrix& g);

}  // namespace headscope::core
