#include "core/weights/block_krylov.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

/// Symmetric with eigenvalues n, n - 1, ..., 1, of which all but the first `rank` are zero.
DoubleMatrix symmetric(int64_t n, int64_t rank, uint64_t seed) {
  DoubleMatrix u = thinQr(gaussian(n, n, seed)).basis, scaled = u;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < n; ++c) scaled(i, c) *= i < rank ? static_cast<double>(n - i) : 0.0;
  }
  return transposedMultiply(u, scaled);
}

DoubleMatrix rowsOf(const DoubleMatrix& a, int64_t count) {
  DoubleMatrix part(count, a.cols);
  std::copy_n(a.data(), part.values.size(), part.data());
  return part;
}

}  // namespace

TEST(BlockKrylov, findsTheFirstPairsWithTheirResiduals) {
  const int64_t n = 90;
  const DoubleMatrix a = symmetric(n, n, 3);
  BlockKrylov space([&](const DoubleMatrix& x) { return multiply(x, a); }, thinQr(gaussian(4, n, 4)).basis, n);
  while (space.steps() < 14 && space.step()) {
  }
  DoubleMatrix turns;
  const std::vector<double> values = symmetricEigen(space.projected(), turns);
  const DoubleMatrix best = rowsOf(turns, 6), y = space.combine(best), image = multiply(y, a);
  const std::vector<double> residuals = space.residuals(best, values);
  EXPECT_NEAR(values[0], 90, 0.01);
  for (int64_t i = 0; i < 6; ++i) {
    double squared = 0;
    for (int64_t c = 0; c < n; ++c) squared += std::pow(image(i, c) - values[static_cast<size_t>(i)] * y(i, c), 2);
    EXPECT_NEAR(residuals[static_cast<size_t>(i)], std::sqrt(squared), 1e-9) << i;
  }
}

TEST(BlockKrylov, endsWhereTheSpaceIsInvariant) {
  const int64_t n = 40;
  const DoubleMatrix a = symmetric(n, 6, 5);
  BlockKrylov space([&](const DoubleMatrix& x) { return multiply(x, a); }, thinQr(gaussian(4, n, 6)).basis, n);
  while (space.step()) {
  }
  EXPECT_TRUE(space.isInvariant());
  EXPECT_LE(space.used(), 10);  // four directions and the matrix' six
  DoubleMatrix turns;
  EXPECT_NEAR(symmetricEigen(space.projected(), turns)[5], 35, 1e-8);
}

TEST(BlockKrylov, stopsAtTheRowsThatAreAllowed) {
  const int64_t n = 50;
  const DoubleMatrix a = symmetric(n, n, 7);
  BlockKrylov space([&](const DoubleMatrix& x) { return multiply(x, a); }, thinQr(gaussian(4, n, 8)).basis, 10);
  while (space.step()) {
  }
  EXPECT_EQ(space.used(), 10);
  EXPECT_FALSE(space.isInvariant());
}
