// Every golden checkpoint opens, and each of its tensors has a role or is named in a note.
#include <gtest/gtest.h>

#include "core/model/model.h"
#include "tests/support/golden.h"

namespace headscope::core {
namespace {

TEST(GoldenModels, gpt2AndLlamaAreWhole) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama2", "llama3_gqa", "llama31_scaled"}) {
    const auto model = Model::open(tests::goldenFolder() / "models" / name);
    EXPECT_TRUE(model->missing().empty()) << name;
    EXPECT_TRUE(model->notes().empty()) << name << ": " << model->notes().front();
    EXPECT_EQ(model->checkpoint().parameters(), model->parameters()) << name;
    for (int64_t l = 0; l < model->spec().layers; ++l) EXPECT_FALSE(model->layer(l).attention.query.empty());
    EXPECT_FALSE(model->head().unembedding.empty());
  }
}

}  // namespace
}  // namespace headscope::core
