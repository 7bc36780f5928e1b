#include "core/weights/small_product.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "core/weights/small_triangle.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

double product(const DoubleMatrix& a, const DoubleMatrix& b, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t p = 0; p < a.cols; ++p) sum += a(i, p) * b(p, j);
  return sum;
}

void clearBelow(DoubleMatrix& a) {
  for (int64_t i = 0; i < a.rows; ++i) std::fill_n(a.row(i), std::min(i, a.cols), 0.0);
}

DoubleMatrix positive(int64_t n, int64_t rank, uint64_t seed) {
  const DoubleMatrix a = gaussian(rank, n, seed), turned = a.transposed();
  DoubleMatrix g(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) g(i, j) = product(turned, a, i, j);
  }
  return g;
}

constexpr int64_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 33, 64, 129};

}  // namespace

TEST(SmallProduct, isTheNaiveProductAtEveryShape) {
  const std::array<int64_t, 3> shapes[] = {{1, 1, 1},     {8, 16, 1},    {8, 16, 8},    {9, 17, 5},
                                           {13, 31, 193}, {64, 48, 200}, {3, 100, 400}, {20, 33, 0}};
  for (const auto& [m, n, k] : shapes) {
    const DoubleMatrix a = gaussian(m, k, 1), b = gaussian(k, n, 2), at = a.transposed(), bt = b.transposed(), before = gaussian(m, n, 3);
    for (const bool isAdded : {false, true}) {
      for (int way = 0; way < 4; ++way) {
        DoubleMatrix c = before;
        SmallProduct{.a = way % 2 == 0 ? SmallOperand::of(a) : SmallOperand::transposeOf(at),
                     .b = way / 2 == 0 ? SmallOperand::of(b) : SmallOperand::transposeOf(bt),
                     .factor = -0.5,
                     .isAdded = isAdded}
            .into(c);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j)
            ASSERT_NEAR(c(i, j), (isAdded ? before(i, j) : 0.0) - 0.5 * product(a, b, i, j), 1e-12)
                << m << " " << n << " " << k << " way " << way;
        }
      }
    }
  }
}

TEST(SmallProduct, leavesOutWhatTrianglesDoNotHold) {
  for (const int64_t n : kSizes) {
    DoubleMatrix upper = gaussian(n, n, 1), lower = gaussian(n, n, 2);
    const DoubleMatrix whole = gaussian(n, n, 3), turned = whole.transposed();
    clearBelow(upper);
    lower = lower.transposed(), clearBelow(lower), lower = lower.transposed();
    DoubleMatrix c(n, n), d(n, n), e(n, n);
    SmallProduct{.a = SmallOperand::of(upper), .b = SmallOperand::of(whole), .aIsUpper = true}.into(c);
    SmallProduct{.a = SmallOperand::of(whole), .b = SmallOperand::of(lower), .bIsLower = true}.into(d);
    SmallProduct{.a = SmallOperand::of(whole), .b = SmallOperand::transposeOf(whole), .isUpper = true}.into(e);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        ASSERT_NEAR(c(i, j), product(upper, whole, i, j), 1e-12) << n;
        ASSERT_NEAR(d(i, j), product(whole, lower, i, j), 1e-12) << n;
        if (j >= i) {
          ASSERT_NEAR(e(i, j), product(whole, turned, i, j), 1e-12) << n;
        }
      }
    }
    DoubleMatrix mirrored = upper;
    mirrorBelow(mirrored);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) ASSERT_EQ(mirrored(i, j), upper(std::min(i, j), std::max(i, j))) << n;
    }
  }
}

TEST(SmallTriangle, factorsAndTurns) {
  for (const int64_t n : kSizes) {
    const DoubleMatrix g = positive(n, n + 5, 4), s = positive(n, n / 2 + 1, 5);
    DoubleMatrix r = g;
    for (int64_t i = 0; i < n; ++i) std::fill_n(r.row(i), i, 1e9);  // what is below the diagonal is not read
    ASSERT_TRUE(factorToTriangle(r)) << n;
    const DoubleMatrix turned = turnedByTriangle(r, s), half = multiply(r, s), rt = r.transposed();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        ASSERT_NEAR(product(rt, r, i, j), g(i, j), 1e-13 * g(0, 0) * static_cast<double>(n)) << n;
        ASSERT_NEAR(turned(i, j), product(half, rt, i, j), 1e-11 * static_cast<double>(n * n)) << n;
        if (j < i) {
          ASSERT_EQ(r(i, j), 0);
        }
      }
    }
  }
}

TEST(SmallTriangle, refusesWhatIsNotPositiveDefinite) {
  for (const int64_t n : {1, 9, 16, 40}) {
    for (const double bad : {-1.0, 0.0, std::nan(""), static_cast<double>(INFINITY)}) {
      DoubleMatrix g = positive(n, n + 5, 6);
      for (int64_t i = 0; i < n; ++i) g(i, n - 1) = g(n - 1, i) = 0;
      g(n - 1, n - 1) = bad;
      EXPECT_FALSE(factorToTriangle(g)) << n << " " << bad;
    }
  }
}
