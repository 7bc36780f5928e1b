// Errors of rows and outputs, access to values, and jobs that stop.
#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/registry.h"
#include "core/mechanisms/value_access.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

TEST(Errors, rowMeasuresMatchNaiveOnes) {
  const RandomHead head(77, 5, 4);
  Job job;
  const auto local = parseMechanism("local:window=9")->bind(head.input, job), linear = parseMechanism("linear")->bind(head.input, job),
             dense = parseMechanism("dense")->bind(head.input, job),
             symmetric = parseMechanism("symmetric:window=9")->bind(head.input, job);
  const HeadRun* runs[] = {local.get(), linear.get(), dense.get(), symmetric.get()};
  const auto errors = headErrors(head.input, runs, head.output, {}, job);
  const std::vector<double> truth = naiveMap(head.input, [](int64_t i, int64_t j) { return j <= i; });
  const Matrix map = wholeMap(*linear, 77, job);
  double difference = 0, size = 0;
  const std::vector<double> out = naiveOutput(truth, head.value);
  const Matrix have = wholeOutput(*linear, 77, 4, job);
  for (int64_t i = 0; i < 77; ++i) {
    double kl = 0, dot = 0, a2 = 0, b2 = 0;
    for (int64_t j = 0; j <= i; ++j) {
      const double a = truth[static_cast<size_t>(i * 77 + j)], b = static_cast<double>(map(i, j));
      kl += b * std::log(b / a);
      dot += a * b;
      a2 += a * a;
      b2 += b * b;
    }
    EXPECT_NEAR(errors[1].kl[static_cast<size_t>(i)], kl, 1e-4 + 1e-4 * kl);
    EXPECT_NEAR(errors[1].cosine[static_cast<size_t>(i)], dot / std::sqrt(a2 * b2), 1e-5);
    EXPECT_NEAR(errors[1].massKept[static_cast<size_t>(i)], 1.0, 1e-5);
    for (int64_t d = 0; d < 24; ++d) {
      double x = 0, y = 0;
      for (int64_t c = 0; c < 4; ++c) {
        x += (static_cast<double>(have(i, c)) - out[static_cast<size_t>(i * 4 + c)]) * static_cast<double>(head.output(c, d));
        y += out[static_cast<size_t>(i * 4 + c)] * static_cast<double>(head.output(c, d));
      }
      difference += x * x;
      size += y * y;
    }
  }
  EXPECT_NEAR(errors[1].output, std::sqrt(difference / size), 1e-5);
  EXPECT_NEAR(errors[2].output, 0, 1e-6);
  EXPECT_NEAR(errors[2].meanRankCorrelation, 1, 1e-6);
  EXPECT_TRUE(std::isnan(errors[3].kl[40]));  // looks at keys that the model hides
  EXPECT_FALSE(std::isnan(errors[0].meanKl));
  EXPECT_LT(errors[0].meanMassKept, 1.0);
}

TEST(Errors, rankCorrelationAveragesTies) {
  const float a[] = {1, 2, 3, 4}, b[] = {4, 3, 2, 1}, c[] = {0, 0, 1, 2}, flat[] = {5, 5, 5, 5};
  EXPECT_NEAR(rankCorrelation(a, a), 1, 1e-12);
  EXPECT_NEAR(rankCorrelation(a, b), -1, 1e-12);
  EXPECT_NEAR(rankCorrelation(a, c), 0.948683298, 1e-6);
  EXPECT_TRUE(std::isnan(rankCorrelation(a, flat)));
}

TEST(Values, accessCountsEveryRow) {
  const RandomHead head(5, 4, 4);
  Job job;
  const ValueAccess access = valueAccess(head.input, head.output, {0.5, 1.0}, job);
  EXPECT_EQ(access.plain[0][0], 1);
  EXPECT_EQ(access.plain[1][4], 5);
  EXPECT_FLOAT_EQ(access.sinkMass[0], 1.0f);
  const AccessSummary summary = summarise({1, 2, 3}, true);
  EXPECT_NEAR(summary.mean, 2, 1e-12);
  EXPECT_NEAR(summary.meanFraction, 1, 1e-12);
  EXPECT_EQ(pooled(summary, summarise({9}, false)).worst, 9);
}

TEST(Jobs, cancelledRunsStop) {
  const RandomHead head(200, 4, 4);
  for (const MechanismKind& kind : allMechanisms()) {
    if (kind.name == "off" || kind.name == "cope" || kind.name == "reuse") continue;
    Job job;
    HeadInput input = head.input;
    const auto run = parseMechanism(kind.name)->bind(input, job);
    job.cancel();
    Matrix out(200, 4);
    EXPECT_THROW(run->output(out.view(), job), Cancelled) << kind.name;
  }
}

}  // namespace
}  // namespace headscope::tests
