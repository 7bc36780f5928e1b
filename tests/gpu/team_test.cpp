// Block algorithms of the kernels, run by a team of one on the host, in both orders of their parallel steps: what depends on the
// order would be a race on the card.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "gpu/arithmetic/householder.h"
#include "gpu/arithmetic/jacobi.h"
#include "gpu/arithmetic/second_triangle.h"
#include "gpu/arithmetic/team.h"
#include "gpu/arithmetic/triangle.h"
#include "tests/support/naive_ops.h"
#include "tests/support/naive_weights.h"

using namespace headscope::gpu;
using namespace headscope::tests;
using headscope::core::DoubleMatrix;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Svd {
  bool isDone = false;
  DoubleMatrix x, y;
  std::vector<double> sigma;
};

Svd decompose(const DoubleMatrix& a, bool isBackwards) {
  Svd s{false, a, DoubleMatrix(a.rows, a.rows), std::vector<double>(static_cast<size_t>(a.rows))};
  SerialTeam team(isBackwards);
  s.isDone = orthogonaliseRows(team, s.x.data(), static_cast<int>(a.rows), static_cast<int>(a.cols), s.y.data(), s.sigma.data());
  return s;
}

void expectSvd(const DoubleMatrix& a, double tolerance) {
  std::vector<double> expected = naiveSingularValues(a);
  for (const bool isBackwards : {false, true}) {
    Svd s = decompose(a, isBackwards);
    EXPECT_TRUE(s.isDone);
    const double top = std::max(1e-300, expected.empty() ? 0 : expected[0]);
    // y a = x, y orthogonal
    for (int64_t i = 0; i < a.rows; ++i) {
      for (int64_t c = 0; c < a.cols; ++c) {
        double sum = 0;
        for (int64_t j = 0; j < a.rows; ++j) sum += s.y(i, j) * a(j, c);
        EXPECT_NEAR(sum, s.x(i, c), 10 * tolerance * top);
      }
    }
    const DoubleMatrix yy = naiveProduct(s.y, s.y);
    for (int64_t i = 0; i < a.rows; ++i) {
      for (int64_t j = 0; j < a.rows; ++j) EXPECT_NEAR(yy(i, j), i == j ? 1.0 : 0.0, 1e-12);
    }
    std::sort(s.sigma.rbegin(), s.sigma.rend());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(s.sigma[i], expected[i], tolerance * top) << a.rows << " " << a.cols;
  }
}

struct Triangle {
  TriangleInfo info;
  DoubleMatrix r;
};

Triangle triangleFrom(const DoubleMatrix& gram, bool isBackwards) {
  const int k = static_cast<int>(gram.rows);
  DoubleMatrix g = gram, r(k, k);
  std::vector<double> x(static_cast<size_t>(k)), y(static_cast<size_t>(k));
  SerialTeam team(isBackwards);
  const TriangleInfo info = triangleOf(team, g.data(), k, r.data(), x.data(), y.data());
  return {info, r};
}

}  // namespace

TEST(GpuJacobi, randomMatricesOfManyShapes) {
  for (const auto& [n, length] :
       {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {2, 2}, {3, 3}, {3, 8}, {8, 8}, {17, 33}, {32, 32}, {33, 64}}) {
    expectSvd(widened(randomMatrix(n, length, static_cast<uint64_t>(n * 100 + length))), 1e-13);
  }
}

TEST(GpuJacobi, eightDecadesRelativeToEachValue) {
  const int64_t n = 24;
  const DoubleMatrix u = orthonormalRows(n, n, 1), v = orthonormalRows(n, n, 2);
  DoubleMatrix a(n, n);
  for (int64_t i = 0; i < n; ++i) {  // rows scaled apart: one-sided rotations keep small ones right relative to themselves
    for (int64_t j = 0; j < n; ++j) a(i, j) = v(i, j) * std::pow(10.0, -8.0 * static_cast<double>(i) / (n - 1));
  }
  Svd s = decompose(a, false);
  std::sort(s.sigma.rbegin(), s.sigma.rend());
  for (int64_t i = 0; i < n; ++i) {
    const double planted = std::pow(10.0, -8.0 * static_cast<double>(i) / (n - 1));
    EXPECT_NEAR(s.sigma[static_cast<size_t>(i)] / planted, 1.0, 1e-10) << i;
  }
  DoubleMatrix mixed(n, n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t k = 0; k < n; ++k) mixed(i, j) += u(k, i) * a(k, j);
    }
  }
  expectSvd(mixed, 1e-13);
}

TEST(GpuJacobi, zeroDependentHugeAndTinyRows) {
  expectSvd(DoubleMatrix(5, 9), 1e-13);
  DoubleMatrix a = widened(randomMatrix(12, 12, 5));
  for (int64_t i = 6; i < 12; ++i) std::copy_n(a.row(i - 6), 12, a.row(i));
  expectSvd(a, 1e-13);
  for (const double size : {1e-200, 1e200, 1e-300}) {
    DoubleMatrix scaled = widened(randomMatrix(6, 6, 6)), plain = scaled;
    for (double& v : scaled.values) v *= size;
    Svd s = decompose(scaled, false), p = decompose(plain, false);
    for (size_t i = 0; i < s.sigma.size(); ++i) EXPECT_NEAR(s.sigma[i] / size, p.sigma[i], 1e-12) << size;
  }
}

TEST(GpuJacobi, inBlocksOfRowsWhatDoesNotFitAsAWhole) {
  for (const auto& [n, length, held] : {std::tuple<int64_t, int64_t, int>{4, 4, 2},
                                        {5, 9, 2},
                                        {7, 7, 3},
                                        {33, 40, 8},
                                        {33, 40, 32},
                                        {40, 40, 39},
                                        {40, 40, 40},
                                        {64, 64, 21}}) {
    const DoubleMatrix a = widened(randomMatrix(n, length, static_cast<uint64_t>(n + held)));
    const std::vector<double> expected = naiveSingularValues(a);
    for (const bool isBackwards : {false, true}) {
      Svd s{false, a, DoubleMatrix(n, n), std::vector<double>(static_cast<size_t>(n))};
      std::vector<double> buffer(static_cast<size_t>(held * length), kInfinity);
      SerialTeam team(isBackwards);
      ASSERT_TRUE(orthogonaliseRows(team, s.x.data(), static_cast<int>(n), static_cast<int>(length), s.y.data(), s.sigma.data(),
                                    buffer.data(), held));
      DoubleMatrix turned(length, n);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t c = 0; c < length; ++c) turned(c, i) = a(i, c);
      }
      const DoubleMatrix ya = naiveProduct(s.y, turned);
      for (size_t i = 0; i < ya.values.size(); ++i) EXPECT_NEAR(ya.values[i], s.x.values[i], 1e-12 * expected[0]) << n << " " << held;
      std::sort(s.sigma.rbegin(), s.sigma.rend());
      for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(s.sigma[i], expected[i], 1e-13 * expected[0]) << n << " " << held;
    }
  }
}

TEST(GpuJacobi, numbersThatAreNotFiniteEndAtOnce) {
  for (const double bad : {std::nan(""), kInfinity}) {
    DoubleMatrix a = widened(randomMatrix(7, 7, 8));
    a(3, 2) = bad;
    const Svd s = decompose(a, false);
    EXPECT_TRUE(std::any_of(s.sigma.begin(), s.sigma.end(), [](double v) { return !std::isfinite(v); }));
  }
}

TEST(GpuTriangle, isThatOfTheThinQr) {
  for (const int64_t k : {1, 2, 3, 16, 33, 64}) {
    const DoubleMatrix f = widened(randomMatrix(k, 2 * k + 5, static_cast<uint64_t>(k))), expected = naiveTriangle(f);
    for (const bool isBackwards : {false, true}) {
      const Triangle t = triangleFrom(naiveProduct(f, f), isBackwards);
      EXPECT_EQ(t.info.state, 0);
      EXPECT_EQ(t.info.shift, 0);
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = 0; j < k; ++j) EXPECT_NEAR(t.r(i, j), j < i ? 0.0 : expected(i, j), 1e-10 * expected(0, 0)) << k;
      }
      const std::vector<double> sigma = naiveSingularValues(f);
      EXPECT_LE(t.info.norm, sigma.front() * (1 + 1e-12));
      EXPECT_GE(t.info.norm, sigma.front() * 0.9);
      // Of the 1-norm, which is within a factor k of the 2-norm's
      EXPECT_GE(t.info.condition * static_cast<double>(k), sigma.front() / sigma.back() * (1 - 1e-9));
      EXPECT_LE(t.info.condition, static_cast<double>(k) * sigma.front() / sigma.back() * (1 + 1e-9));
    }
  }
}

TEST(GpuTriangle, dependentRowsAreShiftedByLittle) {
  DoubleMatrix f = widened(randomMatrix(20, 50, 3));
  for (int64_t i = 10; i < 20; ++i) std::copy_n(f.row(i - 10), 50, f.row(i));
  const DoubleMatrix g = naiveProduct(f, f);
  const Triangle t = triangleFrom(g, false);
  EXPECT_EQ(t.info.state, 0);
  EXPECT_EQ(t.info.condition, kInfinity);
  EXPECT_GT(t.info.shift, 0);
  double largest = 0;
  for (int64_t i = 0; i < 20; ++i) largest = std::max(largest, g(i, i));
  EXPECT_LT(t.info.shift, 1e-13 * largest);
  for (int64_t i = 0; i < 20; ++i) {
    for (int64_t j = 0; j < 20; ++j) {
      double sum = 0;
      for (int64_t c = 0; c < 20; ++c) sum += t.r(c, i) * t.r(c, j);
      EXPECT_NEAR(sum, g(i, j), 1e-12 * largest);
    }
  }
}

TEST(GpuTriangle, zeroAndNotFinite) {
  const Triangle zero = triangleFrom(DoubleMatrix(4, 4), false);
  EXPECT_EQ(zero.info.state, 0);
  EXPECT_EQ(zero.info.norm, 0);
  for (const double v : zero.r.values) EXPECT_EQ(v, 0);
  DoubleMatrix g = DoubleMatrix(3, 3);
  g(1, 2) = std::nan("");
  EXPECT_EQ(triangleFrom(g, false).info.state, 1);
  g(1, 2) = kInfinity;
  EXPECT_EQ(triangleFrom(g, false).info.state, 1);
}

namespace {

/// Orthonormal rows seen through a square matrix: condition 10^decades.
DoubleMatrix conditioned(int64_t k, int64_t m, double decades) {
  const DoubleMatrix u = orthonormalRows(k, k, 5), v = orthonormalRows(k, m, 6);
  DoubleMatrix f(k, m);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t c = 0; c < k; ++c) {
      const double s = std::pow(10.0, -decades * static_cast<double>(c) / static_cast<double>(k - 1));
      for (int64_t j = 0; j < m; ++j) f(i, j) += u(c, i) * s * v(c, j);
    }
  }
  return f;
}

}  // namespace

TEST(GpuSecondTriangle, isAsExactAsHouseholders) {
  for (const auto& [k, m, decades] : {std::tuple<int64_t, int64_t, double>{3, 9, 4}, {24, 60, 3.5}, {40, 130, 5}, {33, 33, 6}}) {
    const DoubleMatrix f = conditioned(k, m, decades), exact = naiveTriangle(f);
    for (const bool isBackwards : {false, true}) {
      Triangle t = triangleFrom(naiveProduct(f, f), isBackwards);
      ASSERT_TRUE(wantsSecondTriangle(t.info)) << k << " " << t.info.condition << " " << t.info.shift;
      DoubleMatrix q = f, g(k, k), second(k, k);
      SerialTeam team(isBackwards);
      ASSERT_TRUE(secondTriangle(team, q.data(), static_cast<int>(k), static_cast<int>(m), t.r.data(), g.data(), second.data()));
      // Signs of rows agree, as both have positive diagonals; the last row is where the square of the condition shows
      double worst = 0;
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = 0; j < k; ++j) worst = std::max(worst, std::abs(t.r(i, j) - (j < i ? 0.0 : exact(i, j))));
      }
      EXPECT_LE(worst, 1e-9) << k;
      const std::vector<double> sigma = naiveSingularValues(t.r);
      for (int64_t c = 0; c < k; ++c) {
        const double planted = std::pow(10.0, -decades * static_cast<double>(c) / static_cast<double>(k - 1));
        EXPECT_NEAR(sigma[static_cast<size_t>(c)], planted, 1e-13) << k << " " << c;  // as Householder: rounding of the largest
      }
    }
  }
}

TEST(GpuSecondTriangle, leavesWhatItCanNotMend) {
  const DoubleMatrix f = conditioned(8, 30, 2);
  DoubleMatrix r = triangleFrom(naiveProduct(f, f), false).r, q = f, g(8, 8), second(8, 8);
  for (int64_t i = 0; i < 8; ++i) r(i, i) *= 3;  // not the triangle of f at all
  const DoubleMatrix before = r;
  SerialTeam team;
  EXPECT_FALSE(secondTriangle(team, q.data(), 8, 30, r.data(), g.data(), second.data()));
  EXPECT_EQ(r.values, before.values);
}

TEST(GpuHouseholder, triangleOfManyShapesAndEightDecades) {
  const auto expectTriangle = [](const DoubleMatrix& f, const std::vector<double>& sigma, double tolerance) {
    const int k = static_cast<int>(f.rows), m = static_cast<int>(f.cols);
    for (const bool isBackwards : {false, true}) {
      DoubleMatrix work = f, r(k, k);
      std::fill(r.values.begin(), r.values.end(), 7.0);
      SerialTeam team(isBackwards);
      const TriangleInfo info = householderTriangle(team, work.data(), k, m, r.data());
      EXPECT_EQ(info.state, 0);
      EXPECT_EQ(info.condition, 1);
      const DoubleMatrix g = naiveProduct(f, f);
      double squares = 0, top = 1e-300;
      for (int i = 0; i < k; ++i) squares += g(i, i), top = std::max(top, g(i, i));
      EXPECT_NEAR(info.norm, std::sqrt(squares), 1e-13 * std::sqrt(squares));
      for (int i = 0; i < k; ++i) {
        for (int j = 0; j < k; ++j) {
          double sum = 0;
          for (int c = 0; c < k; ++c) sum += r(c, i) * r(c, j);
          EXPECT_NEAR(sum, g(i, j), 1e-13 * top) << k << " " << m;
          if (j < i || i >= m) {
            EXPECT_EQ(r(i, j), 0);
          }
        }
      }
      std::vector<double> found = naiveSingularValues(r);
      found.resize(sigma.size());
      for (size_t i = 0; i < sigma.size(); ++i) EXPECT_NEAR(found[i], sigma[i], tolerance * std::max(1e-300, sigma[0])) << k << " " << m;
    }
  };
  for (const auto& [k, m] : {std::pair<int64_t, int64_t>{1, 1}, {1, 7}, {2, 2}, {3, 9}, {9, 3}, {33, 64}, {64, 33}, {40, 40}}) {
    const DoubleMatrix f = widened(randomMatrix(k, m, static_cast<uint64_t>(k * 100 + m)));
    expectTriangle(f, naiveSingularValues(f), 1e-13);
  }
  expectTriangle(DoubleMatrix(5, 9), {0, 0, 0, 0, 0}, 1);
  DoubleMatrix twice = widened(randomMatrix(12, 30, 8));
  for (int64_t i = 6; i < 12; ++i) std::copy_n(twice.row(i - 6), 30, twice.row(i));
  expectTriangle(twice, naiveSingularValues(twice), 1e-13);
  std::vector<double> planted;
  for (int i = 0; i < 24; ++i) planted.push_back(std::pow(10.0, -8.0 * i / 23));
  expectTriangle(conditioned(24, 70, 8), planted, 1e-14);
}

TEST(GpuHouseholder, namesWhatIsNotFinite) {
  DoubleMatrix f = widened(randomMatrix(4, 9, 1)), r(4, 4);
  f(2, 8) = kInfinity;
  SerialTeam team;
  EXPECT_EQ(householderTriangle(team, f.data(), 4, 9, r.data()).state, 1);
  for (const double v : r.values) EXPECT_EQ(v, 0);
}
