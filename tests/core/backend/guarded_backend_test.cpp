// A device that fails in the middle of a job: the job ends right on the CPU, or says what was lost.
#include "core/backend/guarded_backend.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <filesystem>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/backend/open_backend.h"
#include "core/backend/self_test.h"
#include "tests/core/backend/fake_device.h"
#include "tests/support/golden.h"
#include "tests/support/golden_run.h"
#include "tests/support/naive_ops.h"
#include "tests/support/op_checks.h"

using namespace headscope::core;
using namespace headscope::tests;
namespace fs = std::filesystem;

namespace {

struct Guarded {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  std::shared_ptr<GuardedBackend> backend = std::make_shared<GuardedBackend>(device, std::make_shared<CpuBackend>());
};

struct GoldenModel {
  explicit GoldenModel(const char* name)
      : model(Model::open(goldenFolder() / "models" / name)),
        golden(openGolden(goldenFolder() / "models" / name)),
        prompt(goldenPrompt(*golden, model->spec())) {}
  std::shared_ptr<const Trace> run(const std::shared_ptr<Backend>& backend) const {
    Job job;
    return runForward(model, prompt, backend, {}, job);
  }
  void expectRight(const std::shared_ptr<const Trace>& trace, const std::string& when) const {
    const GoldenDifferences d = compareWithGolden(trace, *golden);
    EXPECT_LE(d.attention, 1e-5) << when;
    EXPECT_TRUE(d.isMaskExact) << when;
    EXPECT_LE(d.hidden, 1e-4) << when;
    EXPECT_LE(d.logits, 1e-4) << when;
  }
  std::shared_ptr<const Model> model;
  std::shared_ptr<const SafetensorsFile> golden;
  std::shared_ptr<const Prompt> prompt;
};

struct CacheFolder {
  fs::path path = fs::temp_directory_path() / ("headscope_selftest_" + std::to_string(::getpid()));
  CacheFolder() { fs::remove_all(path); }
  ~CacheFolder() { fs::remove_all(path); }
  DiskCache cache() const { return {path, 1 << 20}; }
};

}  // namespace

TEST(GuardedBackend, everyOperationGoesThrough) {
  Guarded g;
  for (const auto checks : {checkRowOps, checkLinear, checkMaps, checkMasks, checkWeights}) {
    for (const OpCheck& check : checks(*g.backend)) EXPECT_TRUE(check.holds()) << check.name;
  }
  EXPECT_EQ(g.backend->name(), "cuda");
  EXPECT_EQ(g.backend->reason(), "");
}

TEST(GuardedBackend, withdrawnOperationsAreComputedOnTheHost) {
  HEADSCOPE_REQUIRE_GOLDEN();
  Guarded g;
  for (const Op op : {Op::Linear, Op::Attention, Op::KeysNeeded, Op::Norm}) g.backend->withdraw(op);
  EXPECT_FALSE(g.backend->supports(Op::Linear));
  EXPECT_TRUE(g.backend->supports(Op::Spectra));
  const int before = g.device->calls();
  Job job;
  const Tensor x = g.backend->upload(randomMatrix(4, 6, 1));
  g.backend->scale(x, 2.0f, job);
  EXPECT_GT(g.device->calls(), before);
  const GoldenModel gpt2("gpt2");
  gpt2.expectRight(gpt2.run(g.backend), "withdrawn");
}

TEST(GuardedBackend, shortMemoryAnywhereInAPassIsMadeUpForOnTheHost) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenModel llama("llama3_gqa");
  Guarded whole;
  llama.run(whole.backend);
  const int calls = whole.device->calls();
  ASSERT_GT(calls, 20);
  for (int at = 0; at < calls; at += 5) {
    Guarded g;
    g.device->failAfter(at, FakeDevice::Kind::OutOfMemory);
    llama.expectRight(llama.run(g.backend), "memory short at call " + std::to_string(at));
    EXPECT_TRUE(g.device->hasFailed());
    EXPECT_EQ(g.backend->name(), "cuda");
    EXPECT_FALSE(g.backend->isLost());
  }
}

TEST(GuardedBackend, copiesOfWeightsGiveWayBeforeTheHostComputes) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenModel llama("llama3_gqa");
  Guarded g;
  g.device->hasCopies = true;
  g.device->failAfter(9, FakeDevice::Kind::OutOfMemory);
  llama.expectRight(llama.run(g.backend), "memory was there again");
  EXPECT_TRUE(g.device->hasFailed());
  EXPECT_FALSE(g.device->hasCopies);
  EXPECT_EQ(g.backend->reason(), "");
}

TEST(GuardedBackend, deviceLostAnywhereInAPassStartsItAgainOnTheHost) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenModel gpt2("gpt2");
  Guarded whole;
  gpt2.run(whole.backend);
  for (int at = 0; at < whole.device->calls(); at += 7) {
    Guarded g;
    g.device->failAfter(at, FakeDevice::Kind::Lost);
    gpt2.expectRight(gpt2.run(g.backend), "lost at call " + std::to_string(at));
    EXPECT_TRUE(g.backend->isLost());
    EXPECT_EQ(g.backend->name(), "cpu");
    EXPECT_NE(g.backend->reason().find("the device was lost: unspecified launch failure"), std::string::npos) << g.backend->reason();
  }
}

TEST(GuardedBackend, aTraceOnALostDeviceSaysWhatWasLostAndTheNextRunIsWhole) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenModel gpt2("gpt2");
  Guarded g;
  const auto trace = gpt2.run(g.backend);
  g.device->failAfter(0, FakeDevice::Kind::Lost);
  Job job;
  try {
    AttentionMap(trace, {0, 1}).tile({0, 0, 2, 0, 2, Pooling::Max}, job);
    FAIL() << "a tile of numbers that are gone";
  } catch (const DeviceFault& fault) {
    EXPECT_TRUE(fault.isLost());
    EXPECT_NE(fault.fault().find("this prompt's numbers"), std::string::npos) << fault.what();
    EXPECT_NE(fault.hint().find("run the prompt again"), std::string::npos);
  }
  gpt2.expectRight(gpt2.run(g.backend), "after the loss");
}

TEST(GuardedBackend, shortMemoryInATileAndInSpectraIsMadeUpFor) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const GoldenModel gpt2("gpt2");
  Guarded g;
  const auto trace = gpt2.run(g.backend);
  Job job;
  const int64_t n = trace->count();
  const Matrix before = AttentionMap(trace, {1, 1}).tile({0, 0, n, 0, n, Pooling::Max}, job);
  g.device->failAfter(0, FakeDevice::Kind::OutOfMemory);
  const Matrix after = AttentionMap(trace, {1, 1}).tile({0, 0, n, 0, n, Pooling::Max}, job);
  for (int64_t i = 0; i < before.size(); ++i) EXPECT_EQ(before.data()[i], after.data()[i]);
  EXPECT_NE(g.backend->reason().find("memory was short in map tile"), std::string::npos) << g.backend->reason();
  gpt2.expectRight(trace, "the same trace, partly on the host");
  g.device->failAfter(0, FakeDevice::Kind::Lost);
  SpectraBatch batch;
  const Matrix f = randomMatrix(4, 9, 1);
  batch.factors = {{f, nullptr}}, batch.products = {{0, -1, nullptr}};
  EXPECT_EQ(g.backend->spectra(batch, Job()).spectra[0].count(), 4);
  EXPECT_TRUE(g.backend->isLost());
}

TEST(SelfTest, theHostAgainstItselfHolds) {
  FakeDevice device;
  CpuBackend host;
  const SelfTest test = runSelfTest(device, host);
  for (const SelfTest::Failure& f : test.failures) ADD_FAILURE() << nameOf(f.op) << " " << f.difference << " " << f.what;
}

TEST(SelfTest, namesWhatIsWrongAndRemembersIt) {
  const CacheFolder folder;
  CpuBackend host;
  FakeDevice device;
  device.wrong = {Op::Scale, Op::MapTile};
  const auto isRight = [](const SelfTest& test) {
    return test.failures.size() == 2 && test.failures[0].op == Op::Scale && test.failures[1].op == Op::MapTile;
  };
  const SelfTest first = cachedSelfTest(device, host, folder.cache());
  EXPECT_TRUE(isRight(first));
  EXPECT_FALSE(first.isFromCache);
  const int calls = device.calls();
  const SelfTest second = cachedSelfTest(device, host, folder.cache());
  EXPECT_TRUE(isRight(second));
  EXPECT_TRUE(second.isFromCache);
  EXPECT_EQ(device.calls(), calls);
  device.identity_ = "fake card 1, newer driver";
  EXPECT_FALSE(cachedSelfTest(device, host, folder.cache()).isFromCache);
  for (const auto& entry : fs::recursive_directory_iterator(folder.path)) {  // damage every entry
    if (entry.is_regular_file()) fs::resize_file(entry.path(), 1);
  }
  EXPECT_FALSE(cachedSelfTest(device, host, folder.cache()).isFromCache);
}

TEST(SelfTest, aDeviceIsTakenIntoUseBehindAGuard) {
  const auto device = std::make_shared<FakeDevice>();
  device->wrong = {Op::Scale};
  const PluginResult result = guarded({device, ""}, DiskCache());
  ASSERT_NE(result.backend, nullptr);
  EXPECT_EQ(result.backend->name(), "cuda");
  EXPECT_FALSE(result.backend->supports(Op::Scale));
  EXPECT_TRUE(result.backend->supports(Op::Attention));
  EXPECT_EQ(result.backend->reason(), "failed the self-test, so the CPU computes: scale");
}

TEST(SelfTest, splitProductsThatAreCoarseAreLeftAndRemembered) {
  const CacheFolder folder;
  CpuBackend host;
  FakeDevice exact, coarse;
  exact.splits = coarse.splits = coarse.splitsCoarsely = true;
  coarse.identity_ = "fake card 2";
  EXPECT_FALSE(cachedSelfTest(exact, host, folder.cache()).leftSplitProducts);
  EXPECT_TRUE(exact.splits);
  for (const bool isFromCache : {false, true}) {
    coarse.splits = true;
    const SelfTest test = cachedSelfTest(coarse, host, folder.cache());
    EXPECT_EQ(test.isFromCache, isFromCache);
    EXPECT_TRUE(test.leftSplitProducts);
    EXPECT_FALSE(coarse.splits);
    EXPECT_TRUE(test.failures.empty());  // whole products are right
  }
  const auto device = std::make_shared<FakeDevice>();
  device->splits = device->splitsCoarsely = true, device->wrong = {Op::Scale};
  EXPECT_EQ(
      guarded({device, ""}, DiskCache()).backend->reason(),
      "float32 products in bf16 parts failed the self-test, so they are made whole; failed the self-test, so the CPU computes: scale");
}

TEST(SelfTest, aDeviceLostInItIsNone) {
  const auto device = std::make_shared<FakeDevice>();
  device->failAfter(40, FakeDevice::Kind::Lost);
  const PluginResult result = guarded({device, ""}, DiskCache());
  EXPECT_EQ(result.backend, nullptr);
  EXPECT_NE(result.reason.find("failed in its self-test"), std::string::npos) << result.reason;
}

TEST(OpenBackend, aPrecisionThatADeviceGetsWrongIsNotUsed) {
  const auto device = std::make_shared<FakeDevice>();
  GuardedBackend backend(device, std::make_shared<CpuBackend>());
  usePrecision(backend, Precision::Bf16);
  EXPECT_EQ(backend.precision(), Precision::Bf16);
  EXPECT_EQ(backend.reason(), "");
  device->isWrongInBf16 = true;
  usePrecision(backend, Precision::Tf32);
  EXPECT_EQ(backend.precision(), Precision::Tf32);
  usePrecision(backend, Precision::Bf16);
  EXPECT_EQ(backend.precision(), Precision::Float32);
  EXPECT_NE(backend.reason().find("bf16 failed its self-test (attention is off by"), std::string::npos) << backend.reason();
}

TEST(OpenBackend, otherPrecisionsNeedADevice) {
  EXPECT_THROW(openBackend("cpu", Precision::Tf32), Error);
  const auto backend = openBackend("auto", Precision::Bf16);
  if (backend->name() == "cpu") {
    EXPECT_NE(backend->reason().find("not bf16"), std::string::npos) << backend->reason();
  }
}
