#pragma once
// Reduction of a small symmetric matrix (some hundred rows) to tridiagonal form by Householder reflections, one pass over the matrix a
// step: a step's update and the next step's product with a vector touch each entry of one triangle once, where LAPACK's dsytrd reads it
// twice and pays a call for each. Operations 4/3 n^3. Single-threaded.
#include <vector>

#include "core/weights/dense.h"

namespace headscope::core {

struct Tridiagonal {
  std::vector<double> diagonal, off;  // [n], [n - 1]
};

/// Reads the lower triangle.
Tridiagonal reduceToTridiagonal(const DoubleMatrix& a);

}  // namespace headscope::core
