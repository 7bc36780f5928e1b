#include "core/weights/large_eigen.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/job.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

/// Residual and loss of orthogonality of rows of `vectors`, as shares of the largest value.
void expectEigen(const DoubleMatrix& a, const std::vector<double>& values, const DoubleMatrix& vectors, const char* what) {
  const int64_t n = a.rows;
  double largest = 1e-300, worst = 0;
  for (const double v : values) largest = std::max(largest, std::abs(v));
  const DoubleMatrix image = multiply(vectors, a), products = multiplyTransposed(vectors, vectors);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < n; ++c) {
      worst = std::max(worst, std::abs(image(i, c) - values[static_cast<size_t>(i)] * vectors(i, c)) / largest);
      worst = std::max(worst, std::abs(products(i, c) - (i == c ? 1.0 : 0.0)));
    }
    if (i > 0) {
      EXPECT_LE(values[static_cast<size_t>(i)], values[static_cast<size_t>(i - 1)]) << what;
    }
  }
  EXPECT_LE(worst, 3e-13) << what;
}

}  // namespace

TEST(LargeEigen, symmetricMatricesOfOddSizesRanksAndClusters) {
  for (const int64_t n : {513}) {
    const DoubleMatrix g = gaussian(n, n, 1), low = gaussian(7, n, 2);
    DoubleMatrix full = multiplyTransposed(g, g), rank = transposedMultiply(low, low), clusters = rank, zero(n, n), diagonal(n, n);
    for (int64_t i = 0; i < n; ++i) {
      clusters(i, i) += 3;  // all but seven values are 3
      diagonal(i, i) = static_cast<double>(i % 5) - 2;
      for (int64_t j = 0; j < i; ++j) full(i, j) = full(j, i), rank(i, j) = rank(j, i), clusters(i, j) = clusters(j, i);
    }
    for (const auto& [a, what] :
         {std::pair{&full, "full"}, {&rank, "rank 7"}, {&clusters, "clusters"}, {&zero, "zero"}, {&diagonal, "diagonal"}}) {
      DoubleMatrix vectors;
      const std::vector<double> values = largeSymmetricEigen(*a, vectors, Job());
      expectEigen(*a, values, vectors, what);
    }
    DoubleMatrix vectors, reference;
    const std::vector<double> values = largeSymmetricEigen(full, vectors, Job()), expected = symmetricEigen(full, reference);
    const std::vector<double> alone = largeSymmetricEigenvalues(full, Job());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(values[i], expected[i], 1e-12 * expected[0]);
      EXPECT_NEAR(alone[i], expected[i], 1e-12 * expected[0]);
    }
  }
}

TEST(LargeEigen, tridiagonalMatrices) {
  for (const int64_t n : {1, 2, 49, 97, 230}) {
    DoubleMatrix wilkinson(n, n), laplace(n, n), split(n, n);
    for (int64_t i = 0; i < n; ++i) {
      wilkinson(i, i) = std::abs(static_cast<double>(i) - static_cast<double>(n - 1) / 2);
      laplace(i, i) = 2, split(i, i) = static_cast<double>(i % 3);
      if (i + 1 == n) break;
      wilkinson(i, i + 1) = wilkinson(i + 1, i) = 1;
      laplace(i, i + 1) = laplace(i + 1, i) = -1;
      split(i, i + 1) = split(i + 1, i) = i % 10 == 4 ? 0 : 1e-3;
    }
    for (const auto& [a, what] : {std::pair{&wilkinson, "Wilkinson"}, {&laplace, "Laplace"}, {&split, "split"}}) {
      std::vector<double> diagonal, off;
      for (int64_t i = 0; i < n; ++i) {
        diagonal.push_back((*a)(i, i));
        if (i + 1 < n) off.push_back((*a)(i, i + 1));
      }
      DoubleMatrix columns;
      std::vector<double> values = tridiagonalEigen(diagonal, off, columns, Job());
      std::reverse(values.begin(), values.end());
      DoubleMatrix rows(n, n);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t r = 0; r < n; ++r) rows(i, r) = columns(r, n - 1 - i);
      }
      expectEigen(*a, values, rows, what);
    }
  }
}

TEST(LargeEigen, brokenMatricesAndCancelling) {
  DoubleMatrix a(600, 600), vectors;
  for (int64_t i = 0; i < 600; ++i) a(i, i) = static_cast<double>(i);
  Job job;
  job.cancel();
  EXPECT_THROW(largeSymmetricEigen(a, vectors, job), Cancelled);
  a(3, 4) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(largeSymmetricEigen(a, vectors, Job()), Error);
}
