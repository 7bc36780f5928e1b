// Models larger than memory: what is said, and that giving pages back changes no number.
#include "core/attention/weight_stream.h"

#include <gtest/gtest.h>

#include "core/attention/forward.h"
#include "tests/support/golden.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

std::shared_ptr<const Model> golden(const char* name) { return Model::open(goldenFolder() / "models" / name); }

TEST(WeightStream, CountsEachStoredTensorOnce) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = golden("gpt2");  // q, k and v share c_attn
  const int64_t d = model->spec().width, f = model->spec().layer[0].intermediate;
  EXPECT_EQ(storedBytes(model->layer(0)), static_cast<uint64_t>(4 * (d * 3 * d + d * d + 2 * d * f)));
}

TEST(WeightStream, SaysWhenMemoryIsTooSmall) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = golden("gpt2");
  EXPECT_EQ(WeightStream(*model, 2, uint64_t{1} << 40).stage(0), "layer 1 of 2");
  const WeightStream stream(*model, 2, 1000);
  EXPECT_TRUE(stream.isStreaming());
  EXPECT_EQ(stream.bytes(), 2 * storedBytes(model->layer(0)));
  EXPECT_NE(stream.stage(1).find("layer 2 of 2, read from disk ("), std::string::npos);
  EXPECT_FALSE(WeightStream(*model, 1, storedBytes(model->layer(0))).isStreaming()) << "one layer fits";
}

TEST(WeightStream, ChangesNoNumber) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "deepseek_v3_fp8"}) {
    const auto model = golden(name);
    auto prompt = std::make_shared<Prompt>();
    for (const int32_t id : {5, 9, 3, 11, 2}) prompt->tokens.emplace_back().id = id;
    Job job;
    const auto whole = runForward(model, prompt, openBackend("cpu"), {}, job);
    ForwardOptions options;
    options.memoryBytes = 1;
    const auto streamed = runForward(model, prompt, openBackend("cpu"), options, job);
    for (int64_t l = 0; l <= model->spec().layers; ++l) {
      const ConstMatrixView a = whole->hidden(l), b = streamed->hidden(l);
      for (int64_t n = 0; n < a.rows; ++n) {
        for (int64_t c = 0; c < a.cols; ++c) ASSERT_EQ(a(n, c), b(n, c)) << name << ", after layer " << l;
      }
    }
  }
}

}  // namespace
