#include "core/weights/factored_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

DoubleMatrix orthonormalRows(int64_t rows, int64_t cols, uint64_t seed) { return thinQr(gaussian(rows, cols, seed)).basis; }

/// Singular values of L^T R formed densely in double.
std::vector<double> denseSigma(ConstMatrixView left, ConstMatrixView right) {
  return singularValues(transposedMultiply(DoubleMatrix::from(left), DoubleMatrix::from(right)));
}

/// F [k, m] with singular values 10^0 .. 10^-decades and random vectors.
Matrix planted(int64_t k, int64_t m, double decades, uint64_t seed) {
  DoubleMatrix u = orthonormalRows(k, k, seed), v = orthonormalRows(k, m, seed + 1);
  for (int64_t i = 0; i < k; ++i) {
    const double s = std::pow(10.0, -decades * double(i) / double(std::max<int64_t>(1, k - 1)));
    for (int64_t c = 0; c < m; ++c) v(i, c) *= s;
  }
  return multiply(u, v).toFloat();
}

double largestDifference(std::span<const double> a, std::span<const double> b) {
  double d = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) d = std::max(d, std::abs(a[i] - b[i]));
  return d;
}

}  // namespace

TEST(FactoredMatrix, gramRouteIsRightToAMillionthAtOddShapes) {
  struct Shape {
    int64_t k, m, n;
  };
  for (const auto [k, m, n] : {Shape{1, 1, 1}, {1, 7, 5}, {3, 50, 41}, {16, 17, 16}, {24, 64, 96}, {8, 5, 9}, {64, 129, 100}}) {
    const Matrix left = gaussian(k, m, 1).toFloat(), right = gaussian(k, n, 2).toFloat();
    const Spectrum s = FactoredMatrix(left, right).spectrum();
    const auto reference = denseSigma(left, right);
    ASSERT_EQ(s.count(), std::min({k, m, n}));
    EXPECT_LE(largestDifference(s.sigma, reference), 1e-6 * reference[0]) << k << " " << m << " " << n;
    double squares = 0;
    for (double v : reference) squares += v * v;
    EXPECT_NEAR(FactoredMatrix(left, right).frobenius(), std::sqrt(squares), 1e-9 * std::sqrt(squares));
  }
}

TEST(FactoredMatrix, errorStaysBelowTheStatedNoiseOverPlantedDecades) {
  for (const double decades : {0.0, 2.0, 4.0, 6.0, 8.0}) {
    const Matrix left = planted(48, 160, decades, 10), right = planted(48, 130, decades / 2, 20);
    const auto single = singularValues(DoubleMatrix::from(left)), fused = denseSigma(left, right);
    const Spectrum a = factorSpectrum(factorCore(left)), b = fusedSpectrum(factorCore(left), factorCore(right));
    EXPECT_LE(largestDifference(a.sigma, single), a.noise) << decades;
    EXPECT_LE(largestDifference(b.sigma, fused), b.noise + 1e-14 * fused[0]) << decades;
    EXPECT_LE(a.noise, 1e-6 * single[0]);
  }
}

TEST(FactoredMatrix, householderRouteIsRightOverEightDecades) {
  // float32 storage already fixes the small end of the planted values at 1e-8: compare with LAPACK on the stored numbers.
  const Matrix left = planted(40, 150, 8, 30);
  const auto reference = singularValues(DoubleMatrix::from(left));
  const Spectrum s = householderSpectrum(left);
  for (size_t i = 0; i < reference.size(); ++i) EXPECT_NEAR(s.sigma[i], reference[i], 1e-6 * reference[i]) << i;
  EXPECT_LT(reference.back(), 1e-6 * reference.front());
  const Matrix right = planted(40, 90, 4, 40);
  const auto fused = denseSigma(left, right);
  const Spectrum f = householderSpectrum(left, right);
  EXPECT_LE(largestDifference(f.sigma, fused), f.noise + 1e-14 * fused[0]);
}

TEST(FactoredMatrix, factorsThatDoNotLineUpTakeTheHouseholderRoute) {
  // Strong directions of the left meet weak ones of the right: the product is far below the factors' norms.
  const int64_t k = 12;
  DoubleMatrix l = orthonormalRows(k, 80, 1), r = orthonormalRows(k, 70, 2);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t c = 0; c < l.cols; ++c) l(i, c) *= std::pow(10.0, -double(i) / 2);
    for (int64_t c = 0; c < r.cols; ++c) r(i, c) *= std::pow(10.0, -double(k - 1 - i) / 2);
  }
  const Matrix left = l.toFloat(), right = r.toFloat();
  const Spectrum s = FactoredMatrix(left, right).spectrum();
  const auto reference = denseSigma(left, right);
  EXPECT_LE(largestDifference(s.sigma, reference), 1e-6 * reference[0]);
}

TEST(FactoredMatrix, rankDeficientAndZeroFactors) {
  Matrix left = gaussian(10, 40, 3).toFloat();
  for (int64_t r = 4; r < 10; ++r) std::copy_n(left.row(r - 4), 40, left.row(r));  // rank 4
  const Matrix right = gaussian(10, 30, 4).toFloat();
  const Spectrum s = FactoredMatrix(left, right).spectrum();
  EXPECT_EQ(s.signal(), 4);
  EXPECT_LE(rankMeasures(s.sigma).effectiveAt01Percent, 4);
  const Matrix zero = Matrix::zeros(10, 40);
  const Spectrum none = FactoredMatrix(zero, right).spectrum();
  const RankMeasures m = rankMeasures(none.sigma);
  EXPECT_EQ(m.effectiveAt1Percent, 0);
  EXPECT_EQ(m.stable, 0);
  EXPECT_EQ(m.entropy, 0);
  EXPECT_EQ(m.participation, 0);
  EXPECT_EQ(none.signal(), 0);
  EXPECT_EQ(FactoredMatrix(zero, right).frobenius(), 0);
}

TEST(FactoredMatrix, notFiniteIsMarked) {
  Matrix left = gaussian(4, 20, 5).toFloat(), right = gaussian(4, 20, 6).toFloat();
  left(2, 3) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(FactoredMatrix(left, right).spectrum().isFinite);
  EXPECT_FALSE(factorSpectrum(factorCore(left)).isFinite);
  left(2, 3) = std::numeric_limits<float>::infinity();
  const Spectrum s = FactoredMatrix(right, left).spectrum();
  EXPECT_FALSE(s.isFinite);
  EXPECT_TRUE(std::isnan(rankMeasures(s.sigma).stable));
  EXPECT_EQ(effectiveRank(s.sigma, 0.01), -1);
}

TEST(FactoredMatrix, vectorsRebuildTheMatrixAndHaveFixedSigns) {
  const Matrix left = gaussian(6, 23, 7).toFloat(), right = gaussian(6, 19, 8).toFloat();
  const FactoredMatrix w(left, right);
  const SingularVectors v = w.vectors(100);
  ASSERT_EQ(v.sigma.size(), 6U);
  const Matrix dense = w.dense();
  for (int64_t i = 0; i < 23; ++i) {
    for (int64_t j = 0; j < 19; ++j) {
      double sum = 0;
      for (int64_t r = 0; r < 6; ++r) sum += v.sigma[size_t(r)] * v.left(r, i) * v.right(r, j);
      EXPECT_NEAR(sum, dense(i, j), 1e-5 * v.sigma[0]);
    }
  }
  for (int64_t r = 0; r < 6; ++r) {
    float peak = 0;
    for (int64_t i = 0; i < 23; ++i) peak = std::abs(v.left(r, i)) > std::abs(peak) ? v.left(r, i) : peak;
    EXPECT_GT(peak, 0);
  }
}

TEST(FactoredMatrix, products) {
  const Matrix a = gaussian(3, 20, 1).toFloat(), b = gaussian(3, 25, 2).toFloat(), c = gaussian(5, 25, 3).toFloat(),
               d = gaussian(5, 11, 4).toFloat();
  const FactoredMatrix w(a, b), x(c, d);
  const DoubleMatrix product = multiply(DoubleMatrix::from(w.dense()), DoubleMatrix::from(x.dense()));
  EXPECT_NEAR(w.productFrobenius(x), std::sqrt(innerProduct(product, product)), 1e-5 * std::sqrt(innerProduct(product, product)));
  const Matrix in = gaussian(2, 20, 9).toFloat();
  const Matrix y = w.leftProduct(in);
  const DoubleMatrix expected = multiply(DoubleMatrix::from(in), DoubleMatrix::from(w.dense()));
  for (int64_t j = 0; j < 25; ++j) EXPECT_NEAR(y(1, j), expected(1, j), 1e-4);
}

TEST(Spectrum, effectiveRankIsTheSmallestThatKeepsTheEnergy) {
  const std::vector<double> s = {3, 2, 1, 0.1};  // squares 9 4 1 0.01: total 14.01
  EXPECT_EQ(effectiveRank(s, 0.0), 4);
  EXPECT_EQ(effectiveRank(s, 0.001), 3);  // 14 / 14.01 = 0.99929
  EXPECT_EQ(effectiveRank(s, 0.01), 3);
  EXPECT_EQ(effectiveRank(s, 0.08), 2);  // 13 / 14.01 = 0.928
  EXPECT_EQ(effectiveRank(s, 1.0), 0);
  EXPECT_EQ(effectiveRank({}, 0.01), 0);
}

TEST(Spectrum, measuresOfEqualValuesAreTheirCount) {
  const RankMeasures m = rankMeasures(std::vector<double>(7, 0.25));
  EXPECT_NEAR(m.stable, 7, 1e-12);
  EXPECT_NEAR(m.entropy, 7, 1e-12);
  EXPECT_NEAR(m.participation, 7, 1e-12);
  EXPECT_NEAR(m.frobenius, 0.25 * std::sqrt(7.0), 1e-12);
  EXPECT_EQ(m.effectiveAt1Percent, 7);
}

TEST(Spectrum, nearEqualValuesShareAGroup) {
  EXPECT_EQ(nearEqualGroups(std::vector<double>{2, 1, 1 - 1e-7, 0.5}), (std::vector<int64_t>{0, 1, 1, 2}));
}

TEST(Spectrum, rankDependsOnNoiseOnlyAtTheThreshold) {
  Spectrum s;
  s.sigma = {1, 0.1};
  s.noise = 1e-6;
  EXPECT_FALSE(rankDependsOnNoise(s, 0.01 / 2));
  EXPECT_TRUE(rankDependsOnNoise(s, 0.01 / 1.01));
}

TEST(Spectrum, powerLawFindsThePlantedExponent) {
  // Quantiles of a density x^-alpha above 1: x = (1 - u)^(-1 / (alpha - 1)).
  std::vector<double> sigma;
  for (int i = 0; i < 600; ++i) sigma.push_back(std::sqrt(std::pow(1.0 - (i + 0.5) / 600, -1.0 / 1.7)));
  const PowerLaw fit = fitPowerLaw(sigma);
  ASSERT_TRUE(fit.isFitted);
  EXPECT_NEAR(fit.alpha, 2.7, 0.1);
  EXPECT_FALSE(fitPowerLaw(std::vector<double>(3, 1.0)).isFitted);
}
