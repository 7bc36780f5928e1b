#include "core/weights/intruders.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/dense.h"
#include "tests/support/random_matrix.h"

using namespace headscope::core;
using headscope::tests::gaussian;

namespace {

/// A matrix whose singular values fall as 1 / (1 + i / 6), and the same with `strange` strong directions that it never had.
struct Pair {
  Matrix before, after;
};
Pair planted(int64_t out, int64_t in, int64_t strange, uint64_t seed) {
  const int64_t p = std::min(out, in);
  DoubleMatrix u = thinQr(gaussian(p, out, seed)).basis, v = thinQr(gaussian(p, in, seed + 1)).basis;
  for (int64_t i = 0; i < p; ++i) {
    for (int64_t c = 0; c < in; ++c) v(i, c) /= 1.0 + static_cast<double>(i) / 6;
  }
  DoubleMatrix w = transposedMultiply(u, v);
  Pair pair{w.toFloat(), {}};
  const DoubleMatrix a = thinQr(gaussian(std::max<int64_t>(1, strange), out, seed + 2)).basis,
                     b = thinQr(gaussian(std::max<int64_t>(1, strange), in, seed + 3)).basis;
  const DoubleMatrix change = transposedMultiply(a, b);
  for (size_t i = 0; strange > 0 && i < w.values.size(); ++i) w.values[i] += 3 * change.values[i];
  pair.after = w.toFloat();
  return pair;
}

}  // namespace

TEST(Intruders, krylovCountsWhatFullDecompositionsCount) {
  struct Case {
    int64_t out, in, strange;
  };
  for (const auto [out, in, strange] : {Case{120, 90, 0}, {120, 90, 1}, {90, 120, 3}, {200, 64, 4}, {64, 200, 2}, {30, 30, 2}}) {
    const Pair pair = planted(out, in, strange, static_cast<uint64_t>(out + strange));
    const IntruderCount dense = denseIntruders(pair.before, pair.after), krylov = krylovIntruders(pair.before, pair.after, Job());
    EXPECT_EQ(krylov.undecided, 0) << out << "x" << in;
    EXPECT_EQ(krylov.intruders, dense.intruders) << out << "x" << in << " " << strange;
    if (out > 60 && in > 60) {
      EXPECT_GE(dense.intruders, strange) << out << "x" << in;
    }
  }
}

// Singular values without gaps: what the space from all ten vectors together settles, one alone takes many more steps for.
TEST(Intruders, spectraWithoutGapsAreSettled) {
  const DoubleMatrix base = gaussian(300, 260, 11), down = gaussian(8, 260, 12), up = gaussian(8, 300, 13);
  for (const double strength : {0.001, 0.05, 0.2, 1.0}) {
    DoubleMatrix after = base;
    const DoubleMatrix change = transposedMultiply(up, down);
    for (size_t i = 0; i < after.values.size(); ++i) after.values[i] += strength * change.values[i];
    const Matrix w0 = base.toFloat(), w1 = after.toFloat();
    const IntruderCount dense = denseIntruders(w0, w1), krylov = krylovIntruders(w0, w1, Job());
    EXPECT_EQ(krylov.undecided, 0) << strength;
    EXPECT_EQ(krylov.intruders, dense.intruders) << strength;
  }
}

TEST(Intruders, tinyAndUnchangedMatrices) {
  const Pair one = planted(1, 1, 0, 1), small = planted(3, 5, 0, 2);
  EXPECT_EQ(krylovIntruders(one.before, one.after, Job()).intruders, 0);
  EXPECT_EQ(krylovIntruders(small.before, small.after, Job()).intruders, 0);
}

TEST(Intruders, stopWhenCancelled) {
  const Pair pair = planted(64, 64, 1, 3);
  Job job;
  job.cancel();
  EXPECT_THROW(krylovIntruders(pair.before, pair.after, job), Cancelled);
}
