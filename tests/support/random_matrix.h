#pragma once
// Random matrices for tests of decompositions.
#include <random>

#include "core/weights/dense.h"

namespace headscope::tests {

/// Entries N(0, 1).
inline core::DoubleMatrix gaussian(int64_t rows, int64_t cols, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal;
  core::DoubleMatrix a(rows, cols);
  for (double& v : a.values) v = normal(engine);
  return a;
}

}  // namespace headscope::tests
