#pragma once
// Triangles of small symmetric matrices (some hundred rows), in the register tiles of small_product.h. Single-threaded.
#include "core/weights/dense.h"

namespace headscope::core {

/// R with R^T R = G in place of G [n, n], of which the upper triangle is read; what is below R's diagonal becomes zero. False, and G
/// spoilt, where G is not positive definite or not finite. n^3 / 3 operations.
bool factorToTriangle(DoubleMatrix& g);

/// T S T^T, T upper triangular, S symmetric: n^3 operations, a quarter of two plain products.
DoubleMatrix turnedByTriangle(const DoubleMatrix& triangle, const DoubleMatrix& square);

}  // namespace headscope::core
