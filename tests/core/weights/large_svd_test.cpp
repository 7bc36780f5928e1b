#include "core/weights/large_svd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/job.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

double worstDifference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst / std::max(b.front(), 1e-300);
}

}  // namespace

TEST(LargeSvd, sameValuesAsLapackOnOddShapesRanksAndDecades) {
  // 257 and 320 go through the bidiagonal form, with whole and broken panels; the others only through the QR.
  for (const auto& [k, m] : {std::pair{1, 1}, {3, 70}, {64, 65}, {257, 257}, {289, 400}, {320, 320}}) {
    const Matrix a = gaussian(k, m, static_cast<uint64_t>(k)).toFloat();
    EXPECT_LE(worstDifference(largeSingularValues(a, Job()), singularValues(DoubleMatrix::from(a))), 2e-14) << k << " x " << m;
  }
  Matrix decades = gaussian(300, 310, 7).toFloat();
  for (int64_t r = 0; r < 300; ++r) {
    for (int64_t c = 0; c < 310; ++c) decades(r, c) *= std::pow(10.0f, -8.0f * static_cast<float>(r) / 300);
  }
  const std::vector<double> own = largeSingularValues(decades, Job()), reference = singularValues(DoubleMatrix::from(decades));
  EXPECT_LE(worstDifference(own, reference), 2e-14);
  EXPECT_LE(own.back(), 1e-6 * own.front());  // the planted decades are there
  Matrix low = gaussian(300, 300, 9).toFloat();
  for (int64_t r = 5; r < 300; ++r) std::copy_n(low.row(r % 5), 300, low.row(r));
  const std::vector<double> rank = largeSingularValues(low, Job());
  EXPECT_GT(rank[4], 0.1 * rank[0]);
  EXPECT_LE(rank[5], 1e-13 * rank[0]);
  const std::vector<double> zero = largeSingularValues(Matrix::zeros(280, 280), Job());
  EXPECT_EQ(zero.size(), 280U);
  EXPECT_EQ(zero.front(), 0);
}

TEST(LargeSvd, triangleHoldsTheGramMatrix) {
  for (const auto& [k, m] : {std::pair{5, 3}, {33, 100}, {100, 100}, {130, 200}}) {
    const DoubleMatrix a = DoubleMatrix::from(gaussian(k, m, 3).toFloat());
    const DoubleMatrix r = largeThinQrR(a, Job()), g = multiplyTransposed(a, a), own = transposedMultiply(r, r);
    ASSERT_EQ(r.rows, std::min(k, m));
    for (size_t i = 0; i < g.values.size(); ++i) ASSERT_NEAR(own.values[i], g.values[i], 1e-11 * (m + k)) << k << " x " << m;
  }
}

TEST(LargeSvd, stopsWhenCancelledAndRefusesNan) {
  Matrix a = gaussian(400, 400, 4).toFloat();
  Job job;
  job.cancel();
  EXPECT_THROW(largeSingularValues(a, job), Cancelled);
  EXPECT_THROW(largeThinQrR(DoubleMatrix::from(a), job), Cancelled);
  a(399, 0) = std::numeric_limits<float>::infinity();
  EXPECT_THROW(largeSingularValues(a, Job()), Error);
}
