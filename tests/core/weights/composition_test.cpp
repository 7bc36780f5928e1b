#include "core/weights/composition_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

#include "core/backend/cpu/cpu_backend.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/checkpoint/checkpoint.h"
#include "core/weights/composition_change.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/pair_sums.h"
#include "core/weights/synthetic_checkpoint.h"
#include "tests/core/weights/golden_weights.h"
#include "tests/support/safetensors_builder.h"
#include "tests/support/temporary_folder.h"

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

/// The CPU in the place of a device that sums pairs.
class PairDevice : public CpuBackend {
 public:
  bool supports(Op op) const override { return op == Op::PairSums || CpuBackend::supports(op); }
  void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job) override {
    if (isFailing) throw Error("a made-up fault");
    ++calls;
    if (a.owner == nullptr || b.owner == nullptr) ++ownerless;
    headscope::core::addPairSums(a, b, plan, sums, job);
  }
  bool isFailing = false;
  int calls = 0, ownerless = 0;
};

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

TEST(Composition, strippedAndSummedByADeviceWhileTheNextStripIsMade) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama3_gqa");
  const GoldenTensors golden = goldenTensors(goldenFolder() / "models" / "llama3_gqa" / "compose.safetensors");
  const auto device = std::make_shared<PairDevice>();
  CompositionOptions options;
  options.fold = defaultFold(model->spec());
  options.backend = device;
  Job job;
  for (const uint64_t bytes : {uint64_t{1}, options.memoryBytes}) {
    options.memoryBytes = bytes;
    EXPECT_LE(largestDifference(composition(*model, options, job), golden), 1e-5) << bytes;
  }
  EXPECT_GT(device->calls, 3);
  EXPECT_EQ(device->ownerless, 0);
  device->isFailing = true;
  EXPECT_THROW(composition(*model, options, job), Error);
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

TEST(Composition, ofAWideModelAgainstFactoredProducts) {
  SyntheticCheckpoint plan;
  plan.layers = 3, plan.width = 640, plan.heads = 5, plan.kvHeads = 5, plan.headWidth = 24;
  const TemporaryFolder folder;
  plan.write(folder.path());
  const auto model = Model::open(folder.path());
  CompositionOptions options;
  Job job;
  const Composition whole = composition(*model, options, job);
  options.memoryBytes = 1;  // many strips
  const Composition strips = composition(*model, options, job);
  for (const auto& [l, m] : {std::pair{0, 1}, {0, 2}, {1, 2}}) {
    const HeadWeights early = headWeights(*model, l, Fold::On), late = headWeights(*model, m, Fold::On);
    for (int64_t h = 0; h < plan.heads; ++h) {
      const FactoredMatrix ov(early.valueOf(h), early.outputOf(h)), qk(late.queryOf(4 - h), late.keyOf(4 - h));
      const double expected = ov.productFrobenius(qk) / (ov.frobenius() * qk.frobenius());
      for (const Composition* c : {&whole, &strips})
        EXPECT_NEAR(c->at(CompositionKind::Query, l, h, m, 4 - h), expected, 1e-6 * expected) << l << " " << m << " " << h;
    }
  }
}

TEST(Composition, stopsWhenCancelled) {
  HEADSCOPE_REQUIRE_GOLDEN();
  Job job;
  job.cancel();
  EXPECT_THROW(composition(*goldenModel("gpt2"), {}, job), Cancelled);
}

TEST(Composition, theMeanOfSeveralPermutationsAndTheirSpread) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("llama3_gqa");
  CompositionOptions options;
  options.withNull = true;
  options.draws = 1;
  Job job;
  std::vector<Composition> single;
  for (uint64_t seed = 5; seed < 8; ++seed) {
    options.seed = seed;
    single.push_back(composition(*model, options, job));
  }
  options.seed = 5, options.draws = 3;
  const Composition three = composition(*model, options, job);
  for (const size_t i : {three.index(0, 0, 1, 2), three.index(0, 3, 2, 1), three.index(1, 1, 2, 0)}) {
    double mean = 0, squares = 0;
    for (const Composition& c : single) mean += c.null[1][i] / 3.0;
    for (const Composition& c : single) squares += (c.null[1][i] - mean) * (c.null[1][i] - mean);
    EXPECT_NEAR(three.null[1][i], mean, 1e-6);
    EXPECT_NEAR(three.nullDeviation[1][i], std::sqrt(squares / 2), 1e-6);
    EXPECT_EQ(single[0].nullDeviation[1][i], 0);
  }
}

TEST(Composition, someLayersGiveWhatAllGive) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "deepseek_v3"}) {
    const auto model = goldenModel(name);
    Job job;
    CompositionOptions options;
    const Composition all = composition(*model, options, job);
    options.layers = {0, 2};
    const Composition some = composition(*model, options, job);
    ASSERT_EQ(some.layers, 2);
    EXPECT_EQ(some.layerNumbers, options.layers);
    for (int64_t i = 0; i < some.heads; ++i) {
      for (int64_t j = 0; j < some.heads; ++j)
        EXPECT_NEAR(some.at(CompositionKind::Key, 0, i, 1, j), all.at(CompositionKind::Key, 0, i, 2, j), 1e-6) << name;
    }
    options.layers = {1};
    EXPECT_EQ(composition(*model, options, job).notes.size(), 1U);
    for (const std::vector<int64_t>& wrong : {std::vector<int64_t>{2, 0}, {0, 99}, {-1}, {1, 1}}) {
      options.layers = wrong;
      EXPECT_THROW(composition(*model, options, job), Error);
    }
  }
}

TEST(Composition, refusesWhatDoesNotFitWithTheNumbers) {
  HEADSCOPE_REQUIRE_GOLDEN();
  ModelSpec spec = goldenModel("deepseek_v3")->spec();
  spec.layers = 61, spec.heads = 128, spec.headWidth = 192, spec.valueWidth = 128, spec.width = 7168;
  spec.mla->queryRank = 1536, spec.mla->latentRank = 512, spec.mla->rope = 64;
  CompositionOptions options;
  EXPECT_GT(compositionBytes(spec, options), 15e9);
  EXPECT_FALSE(fitsComposition(spec, options));  // the values alone
  CompositionOptions window = options;
  window.memoryBytes = uint64_t{2048} << 20;  // what the window allows
  EXPECT_TRUE(fitsComposition(spec, window));
  spec.layers = 80;
  EXPECT_FALSE(fitsComposition(spec, window));
  spec.layers = 61;
  options.layers = {0, 1, 2, 3};
  EXPECT_LT(compositionBytes(spec, options), 1.6e9);
  options.layers.clear();
  for (int64_t l = 0; l < 40; ++l) options.layers.push_back(l);
  EXPECT_GT(compositionBytes(spec, options), 8e9);
  EXPECT_TRUE(fitsComposition(spec, options));  // a part at a time
  options.layers.clear();
  spec.layers = 32, spec.heads = 32, spec.headWidth = spec.valueWidth = 128, spec.mla.reset();
  EXPECT_LT(compositionBytes(spec, options), 0.6e9);
}

TEST(Composition, partByPartToFilesAsInMemory) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"deepseek_v3", "llama3_gqa"}) {
    const auto model = goldenModel(name);
    CompositionOptions options;
    options.fold = defaultFold(model->spec());
    options.withNull = true, options.draws = 2;
    Job job;
    const Composition whole = composition(*model, options, job);
    options.memoryBytes = 1;  // a layer's readers at a time
    int64_t parts = 0, readers = 1;
    Job counted;
    eachCompositionPart(*model, options, counted, [&](const CompositionPart& part) {
      ++parts;
      EXPECT_EQ(part.firstReader, readers);
      EXPECT_EQ(part.values[0].size(), static_cast<size_t>(part.firstReader * whole.heads * whole.heads));
      readers += part.readerLayers;
      EXPECT_LE(counted.fraction(), 1.0);
    });
    EXPECT_EQ(parts, whole.layers - 1);
    const TemporaryFolder folder;
    Job written;
    writeCompositionTensors(folder / "c.safetensors", *model, options, written);
    const auto file = Checkpoint::open(folder.path(), "c");
    const auto expectSame = [&](const std::string& tensor, const std::vector<float>& expected) {
      EXPECT_EQ(file->at(tensor).shape, (std::vector<int64_t>{whole.layers, whole.heads, whole.layers, whole.heads}));
      const std::vector<float> values = file->vector(tensor);
      for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(values[i], expected[i], 1e-5) << tensor << " " << i;
    };
    const char* kinds[] = {"q", "k", "v"};
    for (size_t k = 0; k < 3; ++k) {
      expectSame(kinds[k], whole.values[k]);
      expectSame(std::string("null.") + kinds[k], whole.null[k]);
      expectSame(std::string("null_deviation.") + kinds[k], whole.nullDeviation[k]);
    }
    // A stopped one leaves neither file.
    Job stopped;
    stopped.cancel();
    EXPECT_THROW(writeCompositionTensors(folder / "d.safetensors", *model, options, stopped), Cancelled);
    EXPECT_THROW(writeCompositionEdges(folder / "d.csv", *model, options, stopped), Cancelled);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()), 1);
  }
}

TEST(Composition, changedEdgesGrownAndShrunk) {
  Composition before;
  before.layers = 2, before.heads = 2, before.layerNumbers = {0, 1};
  for (auto& v : before.values) v.assign(16, 0.5F);
  Composition after = before;
  after.values[0][after.index(0, 1, 1, 0)] = 0.9F;
  after.values[2][after.index(0, 0, 1, 1)] = 0.2F;
  after.values[1][after.index(0, 0, 1, 0)] = std::numeric_limits<float>::quiet_NaN();
  const auto all = changedEdges(before, after, EdgeOrder::Size, 10), grown = changedEdges(before, after, EdgeOrder::Grown, 10),
             shrunk = changedEdges(before, after, EdgeOrder::Shrunk, 10);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].kind, CompositionKind::Query);
  EXPECT_EQ(all[0].fromHead, 1);
  EXPECT_NEAR(all[0].change(), 0.4, 1e-6);
  ASSERT_EQ(grown.size(), 1U);
  ASSERT_EQ(shrunk.size(), 1U);
  EXPECT_EQ(shrunk[0].kind, CompositionKind::Value);
  const CompositionKind key = CompositionKind::Key;
  EXPECT_TRUE(changedEdges(before, after, EdgeOrder::Size, 10, &key).empty());
  EXPECT_EQ(changedEdges(before, after, EdgeOrder::Size, 1).size(), 1U);
  after.heads = 3;
  EXPECT_THROW(changedEdges(before, after, EdgeOrder::Size, 1), Error);
}

TEST(Composition, changedEdgesAreTheLargestOfMany) {
  Composition before;
  before.layers = 5, before.heads = 7, before.layerNumbers = {0, 1, 2, 3, 4};
  for (auto& v : before.values) v.assign(35 * 35, 0.5F);
  Composition after = before;
  std::mt19937_64 engine(4);
  for (auto& v : after.values) {
    for (float& x : v) x += static_cast<float>(engine() % 100000) * 1e-6F - 0.05F;
  }
  const auto all = changedEdges(before, after, EdgeOrder::Size, 100000), some = changedEdges(before, after, EdgeOrder::Size, 30);
  EXPECT_EQ(all.size(), 3U * 10 * 49);
  ASSERT_EQ(some.size(), 30U);
  for (size_t i = 0; i < some.size(); ++i) EXPECT_EQ(std::abs(some[i].change()), std::abs(all[i].change())) << i;
  for (size_t i = 1; i < all.size(); ++i) EXPECT_GE(std::abs(all[i - 1].change()), std::abs(all[i].change())) << i;
  EXPECT_TRUE(changedEdges(before, after, EdgeOrder::Size, 0).empty());
  Job stopped;
  stopped.cancel();
  EXPECT_THROW(changedEdges(before, after, EdgeOrder::Size, 30, nullptr, stopped), Cancelled);
}
