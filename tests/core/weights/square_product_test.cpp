#include "core/weights/square_product.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

TEST(SquareProduct, isTheNaiveProductAtOddShapes) {
  struct Case {
    int64_t out, in, vectors;
  };
  for (const auto [out, in, vectors] : {Case{1, 1, 1}, {3, 5, 2}, {16, 16, 16}, {37, 61, 16}, {61, 37, 7}, {130, 300, 17}, {300, 9, 33}}) {
    const Matrix w = gaussian(out, in, static_cast<uint64_t>(out)).toFloat();
    const DoubleMatrix x = gaussian(vectors, out, static_cast<uint64_t>(in) + 99), wide = DoubleMatrix::from(w);
    const DoubleMatrix expected = multiplyTransposed(multiply(x, wide), wide), got = SquareProduct(w, Job())(x, Job());
    ASSERT_EQ(got.rows, vectors);
    ASSERT_EQ(got.cols, out);
    const double size = std::sqrt(innerProduct(expected, expected));
    for (size_t i = 0; i < got.values.size(); ++i) EXPECT_NEAR(got.values[i], expected.values[i], 1e-6 * size) << out << "x" << in;
  }
}

TEST(SquareProduct, isTheSameOnAnyNumberOfThreads) {
  const Matrix w = gaussian(200, 530, 5).toFloat();
  const DoubleMatrix x = gaussian(16, 200, 6);
  setThreadCount(1);
  const DoubleMatrix one = SquareProduct(w, Job())(x, Job());
  setThreadCount(0);
  EXPECT_EQ(one.values, SquareProduct(w, Job())(x, Job()).values);
}

TEST(SquareProduct, stopsWhenCancelled) {
  const Matrix w = gaussian(64, 64, 7).toFloat();
  const SquareProduct product(w, Job());
  Job job;
  job.cancel();
  EXPECT_THROW(product(gaussian(4, 64, 8), job), Cancelled);
}
