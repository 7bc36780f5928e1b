#include "core/weights/cached_results.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/model/adapter.h"
#include "tests/core/weights/golden_weights.h"
#include "tests/support/safetensors_builder.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

int64_t entriesIn(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

/// Every cut of the bytes, and a byte too many, is damage.
template <typename Parse>
void expectDamageIsFound(const std::string& bytes, const Parse& parse) {
  for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 97) EXPECT_FALSE(parse(bytes.substr(0, size))) << size;
  EXPECT_FALSE(parse(bytes + "x"));
  std::string huge = bytes;  // a count beyond the end
  for (size_t at = 0; at + 8 <= std::min<size_t>(huge.size(), 200); at += 8) {
    std::string bad = bytes;
    for (size_t i = 0; i < 8; ++i) bad[at + i] = '\x7f';
    parse(bad);  // must not read beyond, whatever it says
  }
}

}  // namespace

TEST(CachedResults, loraComesBackAsItWasAndBelongsToItsWeightsAndOptions) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const DiskCache cache(folder.path(), uint64_t{1} << 26);
  const auto base = goldenModel("llama3_gqa");
  const auto adapter = Adapter::open(goldenFolder() / "adapters/llama_qv");
  const auto adapted = base->withAdapter(adapter), half = base->withAdapter(adapter, 0.5);
  LoraOptions options;
  const LoraLayer first = cachedLayerLora(*base, *adapted, 1, options, cache, Job());
  EXPECT_EQ(entriesIn(folder.path()), 1);
  const LoraLayer second = cachedLayerLora(*base, *adapted, 1, options, cache, Job());
  EXPECT_EQ(packLora(first), packLora(second));
  EXPECT_EQ(entriesIn(folder.path()), 1);
  Job stopped;  // what is kept needs no computing: a cancelled job still gets it
  stopped.cancel();
  EXPECT_EQ(packLora(cachedLayerLora(*base, *adapted, 1, options, cache, stopped)), packLora(first));
  EXPECT_THROW(cachedLayerLora(*base, *adapted, 0, options, cache, stopped), Cancelled);
  cachedLayerLora(*base, *half, 1, options, cache, Job());
  options.offset = 3;
  cachedLayerLora(*base, *adapted, 1, options, cache, Job());
  options.withDetails = false;
  cachedLayerLora(*base, *adapted, 1, options, cache, Job());
  EXPECT_EQ(entriesIn(folder.path()), 4);
  LoraLayer parsed;
  EXPECT_TRUE(parseLora(packLora(first), parsed));
  EXPECT_EQ(parsed.heads.size(), first.heads.size());
  EXPECT_EQ(parsed.heads[1].qk.change.sigma, first.heads[1].qk.change.sigma);
  EXPECT_EQ(parsed.intruders.size(), first.intruders.size());
  expectDamageIsFound(packLora(first), [](const std::string& bytes) {
    LoraLayer layer;
    return parseLora(bytes, layer);
  });
}

TEST(CachedResults, compositionComesBackAsItWasAndBelongsToItsWeightsAndOptions) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const DiskCache cache(folder.path(), uint64_t{1} << 26);
  const auto model = goldenModel("llama3_gqa");
  CompositionOptions options;
  Job job;
  const Composition first = cachedComposition(*model, options, cache, job), second = cachedComposition(*model, options, cache, job);
  EXPECT_EQ(packComposition(first), packComposition(second));
  EXPECT_EQ(packComposition(first), packComposition(composition(*model, options, job)));
  EXPECT_EQ(entriesIn(folder.path()), 1);
  options.fold = Fold::Off;
  cachedComposition(*model, options, cache, job);
  options.withNull = true;
  cachedComposition(*model, options, cache, job);
  options.seed = 2;
  cachedComposition(*model, options, cache, job);
  options.layers = {0, 2};
  cachedComposition(*model, options, cache, job);
  EXPECT_EQ(entriesIn(folder.path()), 5);
  expectDamageIsFound(packComposition(first), [](const std::string& bytes) {
    Composition c;
    return parseComposition(bytes, c);
  });
}

TEST(CachedResults, subspacesComeBackWithoutTheirWeights) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const TemporaryFolder folder;
  const DiskCache cache(folder.path(), uint64_t{1} << 26);
  const auto model = goldenModel("llama3_gqa");
  const HeadWeights w = headWeights(*model, 1, Fold::On);
  int decoded = 0;
  SubspaceSource source{*model, 1, Fold::On, SubspaceSide::Output, [&]() -> const HeadWeights& { return ++decoded, w; }};
  const SharedSubspace first = cachedSubspace(source, cache, Job());
  const Matrix overlaps = cachedOverlaps(source, cache, Job());
  EXPECT_EQ(decoded, 2);
  EXPECT_EQ(packSubspace(first), packSubspace(sharedSubspace(w, SubspaceSide::Output, Job())));
  EXPECT_EQ(packSubspace(cachedSubspace(source, cache, Job())), packSubspace(first));
  const Matrix again = cachedOverlaps(source, cache, Job());
  ASSERT_EQ(again.rows(), overlaps.rows());
  EXPECT_TRUE(std::equal(again.data(), again.data() + again.size(), overlaps.data()));
  EXPECT_EQ(decoded, 2);
  source.side = SubspaceSide::Key;
  EXPECT_EQ(cachedSubspace(source, cache, Job()).side, SubspaceSide::Key);
  source.fold = Fold::Off;
  cachedSubspace(source, cache, Job());
  EXPECT_EQ(entriesIn(folder.path()), 4);
  EXPECT_EQ(cachedSubspace(source, DiskCache(), Job()).heads, model->spec().kvHeads);
  expectDamageIsFound(packSubspace(first), [](const std::string& bytes) {
    SharedSubspace space;
    return parseSubspace(bytes, space);
  });
}
