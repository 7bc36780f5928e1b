#include "core/weights/composition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/factored_matrix.h"
#include "tests/core/weights/golden_weights.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

double largestDifference(const Composition& c, const GoldenTensors& golden) {
  double worst = 0;
  const char* names[] = {"q", "k", "v"};
  for (size_t kind = 0; kind < 3; ++kind) {
    const auto& expected = golden.at(names[kind]).values;
    EXPECT_EQ(expected.size(), c.values[kind].size());
    for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::abs(expected[i] - c.values[kind][i]));
  }
  return worst;
}

}  // namespace

TEST(Composition, goldenOfEveryFamily) {
  HEADSCOPE_REQUIRE_GOLDEN();
  std::printf("largest difference from the reference\n%-20s %12s %12s\n", "model", "one strip", "many strips");
  for (const std::string& name : goldenModels("compose.safetensors")) {
    const auto model = goldenModel(name);
    const GoldenTensors golden = goldenTensors(goldenFolder() / "models" / name / "compose.safetensors");
    CompositionOptions options;
    options.fold = defaultFold(model->spec());
    Job job;
    const double whole = largestDifference(composition(*model, options, job), golden);
    options.memoryBytes = 1;  // strips and tiles of the least size
    const double strips = largestDifference(composition(*model, options, job), golden);
    std::printf("%-20s %12.2e %12.2e\n", name.c_str(), whole, strips);
    EXPECT_LE(whole, 1e-5) << name;
    EXPECT_LE(strips, 1e-5) << name;
  }
}

TEST(Composition, permutedWritersGiveAnotherValueOfTheSameSize) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama3_gqa");
  CompositionOptions options;
  options.withNull = true;
  Job job;
  const Composition a = composition(*model, options, job), b = composition(*model, options, job);
  options.memoryBytes = 1;
  const Composition strips = composition(*model, options, job);
  options.seed = 2;
  const Composition other = composition(*model, options, job);
  double difference = 0, mean = 0, changed = 0, inStrips = 0;
  for (size_t i = 0; i < a.null[0].size(); ++i) {
    difference = std::max<double>(difference, std::abs(a.null[0][i] - b.null[0][i]));
    inStrips = std::max<double>(inStrips, std::abs(a.null[0][i] - strips.null[0][i]));
    changed = std::max<double>(changed, std::abs(a.null[0][i] - other.null[0][i]));
    mean += a.null[0][i];
  }
  EXPECT_LE(difference, 1e-6);
  EXPECT_LE(inStrips, 1e-5);
  EXPECT_GT(changed, 1e-4);
  EXPECT_NEAR(mean / (3 * 16), 1.0 / 8.0, 0.04);  // 3 layer pairs of 4 x 4 heads, width 64
  EXPECT_EQ(a.baseline(CompositionKind::Query, 0, 0, 1, 0), a.null[0][a.index(0, 0, 1, 0)]);
}

TEST(Composition, kernelOfOrthonormalBases) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama3_gqa");
  CompositionOptions options;
  options.metric = CompositionMetric::Kernel;
  Job job;
  const Composition c = composition(*model, options, job);
  const HeadWeights w0 = headWeights(*model, 0, Fold::On), w2 = headWeights(*model, 2, Fold::On);
  const DoubleMatrix u = thinQr(w0.outputOf(1)).basis, v = thinQr(w2.keyOf(w2.kvHeadOf(3))).basis;
  const DoubleMatrix between = multiplyTransposed(u, v);
  EXPECT_NEAR(c.at(CompositionKind::Key, 0, 1, 2, 3), innerProduct(between, between) / double(u.rows), 1e-5);
}

TEST(Composition, stopsWhenCancelled) {
  HEADSCOPE_REQUIRE_GOLDEN();
  Job job;
  job.cancel();
  EXPECT_THROW(composition(*goldenModel("gpt2"), {}, job), Cancelled);
}
