// Every golden model against Hugging Face's numbers: maps, hidden states, logits, head scores. Prints the largest differences.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "tests/support/golden.h"
#include "tests/support/golden_run.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

class GoldenModel : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path folder() const { return goldenFolder() / "models" / GetParam(); }
  std::shared_ptr<const Trace> run() const {
    const auto model = Model::open(folder());
    Job job;
    return runForward(model, goldenPrompt(*openGolden(folder()), model->spec()), openBackend("cpu"), {}, job);
  }
};

}  // namespace

TEST_P(GoldenModel, forwardPass) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenDifferences d = compareWithGolden(run(), *openGolden(folder()));
  std::printf("%s\n", tableLine(GetParam(), d).c_str());
  EXPECT_LE(d.attention, 1e-5);
  EXPECT_TRUE(d.isMaskExact);
  EXPECT_LE(d.hidden, 1e-4);
  EXPECT_LE(d.logits, 1e-4);
}

TEST_P(GoldenModel, scores) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto trace = run();
  Job job;
  const HeadScores scores = headScores(*trace, true, job);
  const auto reference = SafetensorsFile::open(folder() / "scores.safetensors");
  for (const TensorInfo& info : reference->tensors()) {
    const std::string name(info.name);
    ASSERT_TRUE(scores.has(name)) << name;
    const std::vector<double> expected = doublesOf(*reference, name), &got = scores.values(name);
    ASSERT_EQ(got.size(), expected.size()) << name;
    // A row's count may differ by one where a sum lands on the threshold
    const double tolerance = name.starts_with("keys.") ? 2.0 / static_cast<double>(trace->count()) : 1e-4;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(got[i])) << name;
      } else {
        EXPECT_NEAR(got[i], expected[i], tolerance) << name << " of head " << i;
      }
    }
  }
  EXPECT_TRUE(scores.has("weighted_keys.0.9"));
  EXPECT_EQ(scores.has("induction"), reference->find("induction") != nullptr);
}

TEST_P(GoldenModel, entriesAgreeHoweverTheyAreRead) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto trace = run();
  Job job;
  for (int64_t l = 0; l < trace->layersRun(); ++l) {
    const AttentionMap map(trace, {l, trace->spec().heads - 1});
    const std::vector<float> received = map.received(job);
    double sum = 0;
    for (const float r : received) sum += r;
    EXPECT_NEAR(sum, static_cast<double>(map.size()), 1e-3);
    for (const int64_t i : {int64_t{0}, map.size() / 2, map.size() - 1}) {
      const std::vector<float> row = map.row(i);
      for (int64_t j = 0; j < map.size(); ++j) EXPECT_NEAR(row[static_cast<size_t>(j)], map.at(i, j), 2e-6);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenModel, ::testing::Values("gpt2", "llama2", "llama3_gqa", "llama31_scaled"),
                         [](const auto& info) { return std::string(info.param); });
