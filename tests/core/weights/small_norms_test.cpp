#include "core/weights/small_norms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "core/tensor/turn_over.h"
#include "core/weights/small_product.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

TEST(SmallNorms, oneEntryThatIsNotFiniteIsSeenWhereverItLies) {
  for (const auto& [rows, cols] : {std::pair{1, 1}, {3, 5}, {8, 2}, {5, 7}}) {
    DoubleMatrix a = gaussian(rows, cols, 1);
    a.values.back() = -9;
    EXPECT_TRUE(isAllFinite(a));
    EXPECT_EQ(largestEntry(a), 9);
    for (double& entry : a.values) {
      for (const double bad : {std::nan(""), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
        const double before = std::exchange(entry, bad);
        EXPECT_FALSE(isAllFinite(a));
        EXPECT_TRUE(std::isnan(largestEntry(a)));
        entry = before;
      }
    }
  }
  EXPECT_TRUE(isAllFinite(DoubleMatrix()));
  EXPECT_EQ(largestEntry(DoubleMatrix(3, 3)), 0);
}

TEST(SmallNorms, innerProductsAtOddSizes) {
  for (const int64_t n : {1, 7, 8, 9, 16, 33, 100}) {
    const DoubleMatrix a = gaussian(1, n, 2), b = gaussian(1, n, 3);
    double wanted = 0;
    for (int64_t i = 0; i < n; ++i) wanted += a(0, i) * b(0, i);
    EXPECT_NEAR(innerProduct(a, b), wanted, 1e-13 * static_cast<double>(n));
  }
}

TEST(SmallNorms, largestEigenvalueFromBelowWithinATenth) {
  for (const int64_t n : {1, 2, 5, 16, 31, 64, 128, 200}) {
    for (const int64_t rank : {int64_t{1}, n, 2 * n, 30 * n}) {
      const DoubleMatrix f = gaussian(rank, n, static_cast<uint64_t>(n + rank)), g = transposedMultiply(f, f);
      const double exact = symmetricEigenvalues(g).front(), found = largestEigenvalue(g);
      EXPECT_LE(found, exact * (1 + 1e-12)) << n << " of rank " << rank;
      EXPECT_GE(found, 0.9 * exact) << n << " of rank " << rank;
    }
  }
  EXPECT_EQ(largestEigenvalue(DoubleMatrix(4, 4)), 0);
  EXPECT_EQ(largestEigenvalue(DoubleMatrix()), 0);
  EXPECT_NEAR(largestEigenvalue(DoubleMatrix::identity(9)), 1, 1e-15);
}

TEST(SmallProduct, symmetricSumsAndTurns) {
  for (const int64_t n : {1, 7, 16, 37}) {
    for (const int64_t r : {int64_t{0}, int64_t{3}, n}) {
      const DoubleMatrix a = gaussian(n, r, 1), b = gaussian(r, n, 2), f = gaussian(n, n, 3), g = transposedMultiply(f, f);
      DoubleMatrix sum = g;
      addWithTranspose(a, b, sum);
      const DoubleMatrix product = multiply(a, b), seen = within(a, g), wanted = transposedMultiply(a, multiply(g, a));
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) ASSERT_NEAR(sum(i, j), g(i, j) + product(i, j) + product(j, i), 1e-12) << n << " " << r;
      }
      for (size_t i = 0; i < seen.values.size(); ++i) ASSERT_NEAR(seen.values[i], wanted.values[i], 1e-10) << n << " " << r;
      const DoubleMatrix turned = a.transposed();
      for (int64_t i = 0; i < r; ++i) {
        for (int64_t j = 0; j < n; ++j) ASSERT_EQ(turned(i, j), a(j, i));
      }
      const Matrix narrow = a.toFloat();
      Matrix wide = Matrix::zeros(r, n + 3);
      if (r > 0) turnOver(narrow, wide.data(), wide.cols());
      for (int64_t i = 0; i < r; ++i) {
        for (int64_t j = 0; j < n + 3; ++j) ASSERT_EQ(wide(i, j), j < n ? narrow(j, i) : 0.0F);
      }
    }
  }
}
