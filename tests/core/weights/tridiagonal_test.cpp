#include "core/weights/tridiagonal.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/weights/lapack.h"
#include "core/weights/row_panels.h"
#include "core/weights/small_product.h"
#include "core/weights/tridiagonal_values.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

DoubleMatrix symmetric(int64_t n, int64_t rank, uint64_t seed) {
  const DoubleMatrix a = gaussian(rank, n, seed);
  return transposedMultiply(a, a);
}

}  // namespace

TEST(Tridiagonal, keepsTheEigenvalues) {
  for (const int64_t n : {1, 2, 3, 7, 17, 64, 129, 300}) {
    for (const int64_t rank : {n, std::max<int64_t>(1, n / 3)}) {
      DoubleMatrix a = symmetric(n, rank, static_cast<uint64_t>(n)), vectors;
      for (int64_t i = 0; i < n; ++i) a(i, i) -= 0.5;  // values of both signs
      const std::vector<double> reference = symmetricEigen(a, vectors);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = i + 1; j < n; ++j) a(i, j) = 1e9;  // the upper triangle is not read
      }
      const std::vector<double> own = symmetricEigenvalues(a);
      ASSERT_EQ(own.size(), reference.size());
      const double size = std::max(std::abs(reference.front()), std::abs(reference.back()));
      for (size_t i = 0; i < own.size(); ++i) ASSERT_NEAR(own[i], reference[i], 2e-14 * size) << n << " of rank " << rank;
      // Trace and Frobenius norm of the tridiagonal form itself.
      const Tridiagonal t = reduceToTridiagonal(a);
      double trace = 0, squares = 0, wanted = 0;
      for (int64_t i = 0; i < n; ++i)
        trace += t.diagonal[static_cast<size_t>(i)] - a(i, i), squares += std::pow(t.diagonal[static_cast<size_t>(i)], 2);
      for (const double v : t.off) squares += 2 * v * v;
      for (const double v : reference) wanted += v * v;
      EXPECT_NEAR(trace, 0, 1e-12 * size * static_cast<double>(n));
      EXPECT_NEAR(squares, wanted, 1e-12 * wanted);
    }
  }
}

TEST(Tridiagonal, zeroDiagonalTinyAndHugeMatrices) {
  DoubleMatrix zero(20, 20), diagonal(20, 20);
  for (int64_t i = 0; i < 20; ++i) diagonal(i, i) = static_cast<double>(i % 7) - 3;
  for (const double v : symmetricEigenvalues(zero)) EXPECT_EQ(v, 0);
  EXPECT_EQ(symmetricEigenvalues(diagonal).front(), 3);
  EXPECT_EQ(symmetricEigenvalues(diagonal).back(), -3);
  const DoubleMatrix a = symmetric(30, 30, 5);
  const std::vector<double> usual = symmetricEigenvalues(a);
  for (const double scale : {1e-150, 1e-90, 1e90, 1e150}) {
    DoubleMatrix b = a;
    for (double& v : b.values) v *= scale;
    const std::vector<double> values = symmetricEigenvalues(b);
    for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i] / scale, usual[i], 1e-12 * usual[0]) << scale;
  }
}

TEST(RowPanels, packsEveryShapeAsItLies) {
  for (const auto& [rows, cols] : {std::pair{16, 8}, {16, 13}, {32, 40}, {37, 19}, {5, 3}, {128, 256}}) {
    Matrix m(rows, cols);
    for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(i % 101) - 50;
    Matrix turned(cols, rows);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) turned(c, r) = m(r, c);
    }
    RowPanels a(rows), b(rows);
    a.pack(m);
    b.packTransposed(turned);
    DoubleMatrix one(rows, rows), other(rows, rows);
    addCross(a, b, one);
    const DoubleMatrix d = DoubleMatrix::from(m), wanted = multiplyTransposed(d, d);
    EXPECT_EQ(one.values, wanted.values) << rows << " x " << cols;  // small integers: no rounding
    addGram(a, other);
    mirrorBelow(other);
    EXPECT_EQ(other.values, wanted.values) << rows << " x " << cols;
  }
}

TEST(Tridiagonal, valuesOfSeveralAreThoseOfEachAlone) {
  std::vector<Tridiagonal> together;
  std::vector<std::vector<double>> expected;
  for (const int64_t n : {1, 2, 3, 40, 5, 128, 7, 64, 64, 2, 90}) {
    DoubleMatrix a = symmetric(n, std::max<int64_t>(1, n - n / 3), static_cast<uint64_t>(n));
    for (int64_t i = 0; i < n; ++i) {  // six decades
      for (int64_t j = 0; j < n; ++j) a(i, j) *= std::pow(10.0, -3.0 * static_cast<double>(i + j) / static_cast<double>(n));
    }
    together.push_back(reduceToTridiagonal(a));
    Tridiagonal t = together.back();
    const int size = static_cast<int>(n);
    int info = 0;
    dsterf_(&size, t.diagonal.data(), t.off.data(), &info);
    ASSERT_EQ(info, 0);
    expected.emplace_back(t.diagonal.rbegin(), t.diagonal.rend());
  }
  for (const double middle : {0.0, 1e-30}) {  // parts that stand alone, and a value on its own
    Tridiagonal t{{3, -1, 5, 5, 2, 2, 7}, {0.5, 0, 2, middle, 1, 0}};
    together.push_back(t);
    const int size = 7;
    int info = 0;
    dsterf_(&size, t.diagonal.data(), t.off.data(), &info);
    expected.emplace_back(t.diagonal.rbegin(), t.diagonal.rend());
  }
  tridiagonalValues(together);
  for (size_t k = 0; k < together.size(); ++k) {
    ASSERT_EQ(together[k].diagonal.size(), expected[k].size());
    const double size = std::max(std::abs(expected[k].front()), std::abs(expected[k].back()));
    for (size_t i = 0; i < expected[k].size(); ++i) EXPECT_NEAR(together[k].diagonal[i], expected[k][i], 2e-14 * size) << k << " " << i;
  }
}
