// Cache sizes against numbers counted by hand.
#include <gtest/gtest.h>

#include "core/mechanisms/cache_size.h"

namespace headscope::tests {
namespace {

using namespace core;

ModelSpec specOf(int64_t layers, int64_t heads, int64_t kvHeads, int64_t headWidth, int64_t valueWidth) {
  ModelSpec spec;
  spec.layers = layers, spec.heads = heads, spec.kvHeads = kvHeads, spec.headWidth = headWidth, spec.valueWidth = valueWidth;
  spec.layer.resize(static_cast<size_t>(layers));
  return spec;
}

const CacheScheme& named(const std::vector<CacheScheme>& all, const std::string& name) {
  for (const CacheScheme& scheme : all) {
    if (scheme.name == name) return scheme;
  }
  throw std::logic_error("no scheme " + name);
}

TEST(CacheSize, groupedQueriesByHand) {
  // Llama 3 8B: 32 layers, 8 of 32 heads' keys and values of width 128: 2 * 8 * 128 * 32 = 65,536 numbers, 128 KiB a token in bf16
  const auto all = cacheSchemes(specOf(32, 32, 8, 128, 128), {});
  EXPECT_EQ(named(all, "model").numbersPerToken(), 65536);
  EXPECT_EQ(cacheBytes(named(all, "model"), 8192, 2), 8192.0 * 131072);  // 1 GiB
  EXPECT_EQ(cacheBytes(named(all, "model"), 8192, 2, 5), 8192.0 * 4096);
  EXPECT_EQ(named(all, "mha").numbersPerToken(), 4 * 65536);
  EXPECT_EQ(named(all, "gqa").numbersPerToken(), 65536.0 / 2);  // 4 groups of 8 heads
  EXPECT_EQ(named(all, "mqa").numbersPerToken(), 65536.0 / 8);
  EXPECT_EQ(named(all, "mla").numbersPerToken(), 576.0 * 32);
  EXPECT_EQ(named(all, "shared_kv").numbersPerToken(), 65536.0 / 2);
  EXPECT_EQ(named(all, "reuse").numbersPerToken(), 65536.0 / 2);
  EXPECT_EQ(cacheBytes(named(all, "window"), 1 << 20, 2), 4096.0 * 131072);
  EXPECT_EQ(cacheBytes(named(all, "window"), 100, 2), 100.0 * 131072);
}

TEST(CacheSize, latentsWindowsAndUnequalWidths) {
  ModelSpec deepseek = specOf(61, 128, 128, 192, 128);
  deepseek.mla.emplace();
  deepseek.mla->latentRank = 512, deepseek.mla->rope = 64;
  const auto all = cacheSchemes(deepseek, {});
  EXPECT_EQ(named(all, "model").numbersPerToken(), 61.0 * 576);
  EXPECT_EQ(named(all, "mha").numbersPerToken(), 61.0 * 128 * 320);
  EXPECT_THROW(named(all, "shared_kv"), std::logic_error);  // widths differ
  ModelSpec gemma = specOf(4, 8, 4, 256, 256);
  gemma.layer[0].window = gemma.layer[2].window = 4096;
  CacheWhatIfs options;
  options.window = 1000, options.reuseEvery = 3, options.groups = 2;
  const auto sliding = cacheSchemes(gemma, options);
  EXPECT_EQ(cacheBytes(named(sliding, "model"), 10000, 1), 2.0 * 4 * 256 * (2 * 4096 + 2 * 10000));
  EXPECT_EQ(cacheBytes(named(sliding, "window"), 10000, 1), 2.0 * 4 * 256 * 4 * 1000);
  EXPECT_EQ(named(sliding, "gqa").numbersPerToken(), 2.0 * 2 * 256 * 4);
  EXPECT_EQ(named(sliding, "reuse").numbersPerToken(), 2.0 * 4 * 256 * 2);  // layers 0 and 3 keep their own
  EXPECT_TRUE(cacheSchemes(specOf(0, 8, 8, 64, 64), {}).empty());
}

TEST(CacheSize, everyDTypeHasItsBytes) {
  std::vector<std::pair<std::string, double>> expected{{"f32", 4}, {"bf16", 2}, {"fp8", 1}, {"int4", 0.5}};
  ASSERT_EQ(cacheDTypes().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(cacheDTypes()[i].name, expected[i].first);
    EXPECT_EQ(cacheDTypes()[i].bytes, expected[i].second);
  }
}

}  // namespace
}  // namespace headscope::tests
