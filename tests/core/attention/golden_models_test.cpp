// Every golden model against Hugging Face's numbers: maps, hidden states, logits, head scores. Prints the largest differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "core/model/adapter.h"
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

/// Next tokens, fills of masked words, classes: what the reference's logits say, most likely first.
TEST_P(GoldenModel, likeliestTokens) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto trace = run();
  const auto golden = openGolden(folder());
  const std::vector<float> logits = floatsOf(*golden, "logits");
  const auto rows = trace->logitRows();
  const auto width = static_cast<int64_t>(logits.size()) / rows;
  for (const int64_t query : {int64_t{0}, rows / 2, rows - 1}) {
    Job job;
    const std::vector<NextToken> next = trace->nextTokens(query, 10, job);
    ASSERT_EQ(static_cast<int64_t>(next.size()), std::min<int64_t>(10, width));
    const float* row = logits.data() + query * width;
    const double largest = *std::max_element(row, row + width);
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += std::exp(row[i] - largest);
    double before = 1;
    for (const NextToken& token : next) {
      EXPECT_NEAR(token.probability, std::exp(row[token.id] - largest) / sum, 1e-4) << "id " << token.id << " after " << query;
      EXPECT_LE(token.probability, before);
      before = token.probability;
    }
    EXPECT_NEAR(next[0].probability, 1 / sum, 1e-4) << "the likeliest is first";
  }
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

INSTANTIATE_TEST_SUITE_P(All, GoldenModel,
                         ::testing::Values("gpt2", "llama2", "llama3_gqa", "llama31_scaled", "mistral_window", "qwen2", "qwen3",
                                           "qwen3_new_config", "gemma2", "pythia", "bert", "vit", "deepseek_v3", "deepseek_v3_fp8",
                                           "deepseek_v2_lite"),
                         [](const auto& info) { return std::string(info.param); });

namespace {

class GoldenAdapter : public ::testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path folder() const { return goldenFolder() / "adapters" / GetParam(); }
  std::shared_ptr<const Trace> run(double strength) const {
    const auto adapter = Adapter::open(folder());
    const auto base = Model::open(goldenFolder() / "models" / std::filesystem::path(adapter->config().baseModel).filename());
    const auto model = base->withAdapter(adapter, strength);
    Job job;
    return runForward(model, goldenPrompt(*openGolden(folder()), model->spec()), openBackend("cpu"), {}, job);
  }
};

}  // namespace

TEST_P(GoldenAdapter, forwardPass) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenDifferences d = compareWithGolden(run(1.0), *openGolden(folder()));
  std::printf("%s\n", tableLine(GetParam(), d).c_str());
  EXPECT_LE(d.attention, 1e-5);
  EXPECT_TRUE(d.isMaskExact);
  EXPECT_LE(d.hidden, 1e-4);
  EXPECT_LE(d.logits, 1e-4);
}

TEST_P(GoldenAdapter, strengthZeroIsTheBase) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto off = run(0.0);
  Job job;
  const auto base = runForward(off->model().withoutAdapter(), off->sharedPrompt(), openBackend("cpu"), {}, job);
  for (int64_t l = 0; l <= off->layersRun(); ++l) {
    const ConstMatrixView a = off->hidden(l), b = base->hidden(l);
    for (int64_t r = 0; r < a.rows; ++r) {
      for (int64_t c = 0; c < a.cols; ++c) ASSERT_NEAR(a(r, c), b(r, c), 1e-4) << l;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenAdapter,
                         ::testing::Values("gpt2_attn_and_proj", "gpt2_c_attn", "llama_dora", "llama_layers_to_transform", "llama_mlp_too",
                                           "llama_patterns", "llama_qkvo_rslora", "llama_qv", "llama_regex_some_layers", "pythia_fused",
                                           "qwen2_bias_modules_to_save"),
                         [](const auto& info) { return std::string(info.param); });
