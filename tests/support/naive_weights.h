#pragma once
// Decompositions as plain loops in double: the reference for the Backend's operations on weights.
#include <cstdint>
#include <vector>

#include "core/backend/weight_ops.h"

namespace headscope::tests {

/// Singular values, descending, of a row-major matrix: rotations of pairs of columns until all are orthogonal.
std::vector<double> naiveSingularValues(const core::DoubleMatrix& a);
/// R [k, k] with R^T R = F F^T, F [k, m], by Gram-Schmidt twice over.
core::DoubleMatrix naiveTriangle(const core::DoubleMatrix& factor);
/// A B^T.
core::DoubleMatrix naiveProduct(const core::DoubleMatrix& a, const core::DoubleMatrix& b);
/// The entries in double.
core::DoubleMatrix widened(core::ConstMatrixView m);
/// Random orthonormal rows [k, m], k <= m.
core::DoubleMatrix orthonormalRows(int64_t k, int64_t m, uint64_t seed);

}  // namespace headscope::tests
