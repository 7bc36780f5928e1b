// Every golden checkpoint opens, and each of its tensors has a role or is named in a note.
#include <gtest/gtest.h>

#include "core/model/model.h"
#include "tests/support/golden.h"

namespace headscope::core {
namespace {

TEST(GoldenModels, everyTensorHasARole) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const auto& entry : std::filesystem::directory_iterator(tests::goldenFolder() / "models")) {
    SCOPED_TRACE(entry.path().filename().string());
    const auto model = Model::open(entry.path());
    EXPECT_TRUE(model->missing().empty()) << model->missing().front();
    EXPECT_TRUE(model->notes().empty()) << model->notes().front();
    EXPECT_EQ(model->checkpoint().parameters(), model->parameters());
    for (int64_t l = 0; l < model->spec().layers; ++l) {
      EXPECT_TRUE(model->hasAttention(l));
      const LayerWeights weights = model->layer(l);
      EXPECT_FALSE(weights.attentionNorm.empty());
      EXPECT_FALSE(weights.attention.output.empty());
      EXPECT_EQ(weights.attention.query.empty(), model->spec().mla && model->spec().mla->queryRank > 0);
      EXPECT_EQ(weights.moe.experts.empty(), !model->spec().layer[static_cast<size_t>(l)].isMoe);
    }
    EXPECT_FALSE(model->head().unembedding.empty());
    model->embedding();
  }
}

}  // namespace
}  // namespace headscope::core
