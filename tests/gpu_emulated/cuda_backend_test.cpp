// CudaBackend whole, kernels included, over a stand-in for CUDA (tests/gpu_check/emulation): what it computes, in both orders of a
// block's threads, and what becomes of a pass when the card's memory is short. Says nothing of a card.
#include "gpu/cuda_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "core/attention/forward.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/guarded_backend.h"
#include "core/backend/open_backend.h"
#include "core/model/adapter.h"
#include "core/weights/composition.h"
#include "core/weights/lora.h"
#include "gpu/arithmetic/decode.h"
#include "gpu/kernels/kernels.h"
#include "tests/support/folders.h"
#include "tests/support/golden.h"
#include "tests/support/golden_run.h"
#include "tests/support/naive_ops.h"
#include "tests/support/op_checks.h"

using namespace headscope::core;
using namespace headscope::tests;
using headscope::gpu::CudaBackend;

namespace {

/// Small cases, and settings of the emulation that end with the test.
class EmulatedCuda : public testing::Test {
 protected:
  EmulatedCuda() { onlySmallCases() = true; }
  ~EmulatedCuda() override {
    onlySmallCases() = false;
    ::unsetenv("EMULATED_BACKWARDS"), ::unsetenv("EMULATED_MIB");
  }
  static void expectAllHold(const std::vector<OpCheck>& checks) {
    EXPECT_FALSE(checks.empty());
    for (const OpCheck& check : checks) EXPECT_TRUE(check.holds()) << check.name << ": " << check.difference << " of " << check.tolerance;
  }
};

void expectGolden(const std::shared_ptr<const Model>& model, const std::filesystem::path& folder, const std::shared_ptr<Backend>& backend,
                  const std::string& when) {
  const auto golden = openGolden(folder);
  Job job;
  const GoldenDifferences d = compareWithGolden(runForward(model, goldenPrompt(*golden, model->spec()), backend, {}, job), *golden);
  EXPECT_LE(d.attention, 1e-5) << when;
  EXPECT_TRUE(d.isMaskExact) << when;
  EXPECT_LE(d.hidden, 1e-4) << when;
  EXPECT_LE(d.logits, 1e-4) << when;
}

}  // namespace

TEST_F(EmulatedCuda, rowsLinearMapsAndAttention) {
  CudaBackend backend;
  for (const auto checks : {checkRowOps, checkLinear, checkAttention, checkMaps, checkMasks}) expectAllHold(checks(backend));
}

TEST_F(EmulatedCuda, productsWithBf16WeightsAreExactInPartsAndRightWhole) {
  CudaBackend backend;
  ASSERT_TRUE(backend.splitsProducts());
  onlySmallCases() = false;  // long sums
  expectAllHold(checkLinear(backend));
  backend.leaveSplitProducts();
  onlySmallCases() = true;
  expectAllHold(checkLinear(backend));
}

TEST_F(EmulatedCuda, float8WeightsUnderPowersOfTwoAreExactInParts) {
  const int64_t outputs = 40, inputs = 70, rows = 3;
  std::vector<uint8_t> stored(static_cast<size_t>(outputs * inputs));
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<uint8_t>(i * 37 % 0x7F + (i % 3 == 0 ? 0x80 : 0));
  const std::vector<float> powers = {0.25f, 8.0f, 0.5f, 1.0f, 2.0f, 0.125f, 4.0f, 1.0f, 1.0f}, others(9, 0.3f);
  for (const std::vector<float>& scales : {powers, others}) {
    Linear linear;
    WeightView& w = linear.weight;
    w.data = reinterpret_cast<const std::byte*>(stored.data()), w.dtype = DType::F8_E4M3;
    w.storedRows = w.outGroupSize = w.outGroupStride = outputs, w.storedCols = w.inCount = inputs;
    w.scales = reinterpret_cast<const std::byte*>(scales.data()), w.scaleType = DType::F32;
    w.blockRows = 16, w.blockCols = 32, w.scaleCols = 3;
    const Matrix x = randomMatrix(rows, inputs, 3);
    CudaBackend backend;
    CpuBackend host;
    Matrix found[2];
    int at = 0;
    for (Backend* b : {static_cast<Backend*>(&backend), static_cast<Backend*>(&host)}) {
      const Tensor out = b->allocate(rows, outputs);
      Job job;
      b->linear(b->upload(x), linear, Into::Replace, out, job);
      found[at++] = b->download(out);
    }
    for (int64_t i = 0; i < found[0].size(); ++i)
      EXPECT_NEAR(found[0].data()[i], found[1].data()[i], 2e-6 * std::max(500.0f, std::abs(found[1].data()[i])));
  }
}

TEST_F(EmulatedCuda, keysNeededOfRowsThatDoNotFitABlocksMemory) {
  constexpr int64_t n = 7000, rows = 3, first = n - rows;
  const Matrix raw = randomMatrix(rows, n, 5);
  Matrix scores = randomMatrix(rows, n, 5), factors = randomMatrix(1, n, 6);  // scores are used up
  std::vector<float> sums(n, 0.0f);
  std::vector<std::vector<double>> plain, weighted;  // shares of each row
  for (int64_t j = 0; j < n; ++j) factors(0, j) = std::abs(factors(0, j));
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0, weightedSum = 0;
    const int64_t seen = first + r + 1;
    for (int64_t j = 0; j < seen; ++j) sum += std::exp(2.0 * raw(r, j)), weightedSum += std::exp(2.0 * raw(r, j)) * factors(0, j);
    sums[static_cast<size_t>(first + r)] = static_cast<float>(std::log(sum));
    plain.emplace_back(), weighted.emplace_back();
    for (int64_t j = 0; j < seen; ++j) {
      plain.back().push_back(std::exp(2.0 * raw(r, j)) / sum);
      weighted.back().push_back(std::exp(2.0 * raw(r, j)) * factors(0, j) / weightedSum);
    }
  }
  const std::vector<double> shares = {0.5, 0.9, 0.99};
  std::vector<float> counts(shares.size() * n, 0.0f), weightedCounts(counts);
  headscope::gpu::keysNeeded({scores.data(), 1, first, rows, 0, n, n, n, 2.0f, 0.0f, 0, true}, sums.data(),
                             {shares.data(), 3, factors.data(), counts.data(), weightedCounts.data()}, nullptr);
  for (size_t s = 0; s < shares.size(); ++s) {
    for (int64_t r = 0; r < rows; ++r) {
      const size_t at = s * n + static_cast<size_t>(first + r);
      // Float sums of thousands of weights move the last key needed by a few
      EXPECT_NEAR(counts[at], naiveKeysNeeded(plain[static_cast<size_t>(r)], shares[s]), 3) << shares[s];
      EXPECT_NEAR(weightedCounts[at], naiveKeysNeeded(weighted[static_cast<size_t>(r)], shares[s]), 3) << shares[s];
    }
  }
}

TEST_F(EmulatedCuda, weights) {
  CudaBackend backend;
  expectAllHold(checkWeights(backend));
}

TEST_F(EmulatedCuda, coresThatAreTooLargeForABlocksMemory) {
  constexpr int64_t kSide = 192;  // 288 KiB; a block has 227
  CudaBackend backend;
  DoubleMatrix core(kSide, kSide);
  for (int64_t r = 0; r < kSide; ++r) {  // eight decades, rows nearly orthogonal already: few sweeps
    for (int64_t c = 0; c < kSide; ++c)
      core(r, c) =
          std::pow(10.0, -8.0 * static_cast<double>(r) / kSide) * ((r == c ? 1.0 : 0.0) + 0.002 * std::sin(static_cast<double>(r * c)));
  }
  const std::vector<double> expected = singularValues(core), found = backend.smallSvds({&core, 1}, false, Job())[0].sigma;
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-13 * expected[0]) << i;
}

TEST_F(EmulatedCuda, tf32TakesItsOwnWayThroughTheSameNumbers) {
  CudaBackend backend;
  backend.setPrecision(Precision::Tf32);  // the emulation's products stay float32: what differs is the way, by blocks of rows
  for (const auto checks : {checkLinear, checkAttention, checkMaps}) expectAllHold(checks(backend));
  EXPECT_NE(backend.device().find("tf32"), std::string::npos);
}

TEST_F(EmulatedCuda, bf16AttentionOnTensorCoresKeepsItsTolerance) {
  CudaBackend backend;
  backend.setPrecision(Precision::Bf16);
  for (const char* isBackwards : {"0", "1"}) {
    ::setenv("EMULATED_BACKWARDS", isBackwards, 1);
    for (const OpCheck& check : checkAttention(backend)) {
      EXPECT_TRUE(check.isFinite && check.isMaskExact && check.difference <= 3e-2) << check.name << ": " << check.difference;
    }
  }
}

/// With numbers that bf16 holds, all but the weights' rounding is exact: statistics are float32's, and the output keeps eight bits.
TEST_F(EmulatedCuda, bf16AttentionOfBf16NumbersHasFloat32Statistics) {
  const auto bf16Matrix = [](int64_t rows, int64_t cols, uint64_t seed) {
    Matrix m = randomMatrix(rows, cols, seed);
    for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = headscope::gpu::decodeBf16(headscope::gpu::encodeBf16(m.data()[i]));
    return m;
  };
  const std::vector<std::pair<int64_t, AttentionRule>> cases = {
      {1, {3, 1, 1, 1, 0.5, 0, 0, true}},        {130, {8, 2, 128, 128, 0.1, 0, 0, true}},  {200, {3, 3, 192, 128, 0.1, 0, 0, true}},
      {190, {2, 1, 256, 256, 0.1, 0, 0, true}},  {129, {4, 2, 40, 80, 0.2, 5.0, 17, true}}, {150, {3, 3, 33, 17, 0.3, 0, 0, false}},
      {97, {2, 2, 16, 200, 0.3, 2.0, 9, false}}, {65, {2, 2, 8, 8, 0.3, 0, 0, true}},       {270, {2, 1, 72, 65, 0.2, 0, 0, true}},
      {300, {4, 2, 24, 24, 0.3, 0, 70, true}},
  };
  for (const auto& [count, rule] : cases) {
    const Matrix query = bf16Matrix(count, rule.heads * rule.keyWidth, 1), key = bf16Matrix(count, rule.kvHeads * rule.keyWidth, 2),
                 value = bf16Matrix(count, rule.kvHeads * rule.valueWidth, 3);
    CudaBackend device;
    device.setPrecision(Precision::Bf16);
    CpuBackend host;
    std::vector<Matrix> found;
    for (Backend* b : {static_cast<Backend*>(&device), static_cast<Backend*>(&host)}) {
      const Tensor out = b->allocate(count, rule.heads * rule.valueWidth);
      Job job;
      const AttentionStatistics rows = b->attention({b->upload(query), b->upload(key), b->upload(value), rule}, out, job);
      for (const Tensor& t : {out, rows.max, rows.logSumExp, rows.entropy, rows.distance}) found.push_back(b->download(t));
    }
    for (size_t i = 0; i < 5; ++i) {
      const double tolerance = i == 0 ? 8e-3 : i == 4 ? 1e-3 : 2e-5;
      double worst = 0;
      for (int64_t e = 0; e < found[i].size(); ++e) {
        const double difference = std::abs(static_cast<double>(found[i].data()[e]) - found[i + 5].data()[e]);
        worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
      }
      EXPECT_LE(worst, tolerance) << "number " << i << " of " << count << " tokens, widths " << rule.keyWidth << " and " << rule.valueWidth;
    }
  }
}

TEST_F(EmulatedCuda, bf16RowThatIsNotANumberStaysAlone) {
  CudaBackend backend;
  backend.setPrecision(Precision::Bf16);
  Matrix query = randomMatrix(100, 8, 1);
  query(70, 2) = std::nanf("");
  const Tensor out = backend.allocate(100, 8);
  Job job;
  const AttentionStatistics rows = backend.attention({backend.upload(query),
                                                      backend.upload(randomMatrix(100, 8, 2)),
                                                      backend.upload(randomMatrix(100, 8, 3)),
                                                      {1, 1, 8, 8, 0.5, 0, 0, true}},
                                                     out, job);
  const Matrix sums = backend.download(rows.logSumExp), values = backend.download(out);
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(std::isnan(sums(0, i)), i == 70) << i;
    EXPECT_EQ(std::isnan(values(i, 0)), i == 70) << i;
  }
}

TEST_F(EmulatedCuda, theOrderOfABlocksThreadsChangesNothing) {
  ::setenv("EMULATED_BACKWARDS", "1", 1);
  CudaBackend backend;
  for (const auto checks : {checkRowOps, checkAttention, checkMaps, checkMasks}) expectAllHold(checks(backend));
}

TEST_F(EmulatedCuda, isTakenIntoUse) {
  const PluginResult result = guarded({std::make_shared<CudaBackend>(), ""}, DiskCache());
  ASSERT_NE(result.backend, nullptr) << result.reason;
  EXPECT_EQ(result.backend->name(), "cuda");
  EXPECT_EQ(result.backend->reason(), "");
}

TEST_F(EmulatedCuda, lowerPrecisionsPassTheirTest) {
  for (const Precision precision : {Precision::Tf32, Precision::Bf16}) {
    CudaBackend backend;
    usePrecision(backend, precision);
    EXPECT_EQ(backend.precision(), precision);
    EXPECT_EQ(backend.reason(), "");
  }
}

TEST_F(EmulatedCuda, modelsAndAdapters) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto backend = std::make_shared<GuardedBackend>(std::make_shared<CudaBackend>(), std::make_shared<CpuBackend>());
  for (const char* name : {"gpt2", "gemma2", "deepseek_v3_fp8", "bert"})
    expectGolden(Model::open(goldenFolder() / "models" / name), goldenFolder() / "models" / name, backend, name);
  const auto folder = goldenFolder() / "adapters" / "llama_dora";
  const auto adapter = Adapter::open(folder);
  const auto base = Model::open(goldenFolder() / "models" / adapter->config().baseModel), adapted = base->withAdapter(adapter);
  expectGolden(adapted, folder, backend, "llama_dora");
  LoraOptions here;
  here.withDetails = false;
  LoraOptions there = here;
  there.backend = backend;
  const LoraLayer a = layerLora(*base, *adapted, 0, here, Job()), b = layerLora(*base, *adapted, 0, there, Job());
  for (size_t h = 0; h < a.heads.size(); ++h) EXPECT_NEAR(a.heads[h].qk.relative, b.heads[h].qk.relative, 1e-6);
  EXPECT_EQ(backend->reason(), "");
}

TEST_F(EmulatedCuda, shortMemoryAnywhereIsMadeUpForOnTheHost) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = Model::open(goldenFolder() / "models" / "llama3_gqa");
  int made = 0;
  for (const char* mebibytes : {"0", "1", "2", "3", "5", "8"}) {
    ::setenv("EMULATED_MIB", mebibytes, 1);
    const auto backend = std::make_shared<GuardedBackend>(std::make_shared<CudaBackend>(), std::make_shared<CpuBackend>());
    expectGolden(model, goldenFolder() / "models" / "llama3_gqa", backend, std::string(mebibytes) + " MiB");
    EXPECT_FALSE(backend->isLost()) << mebibytes;
    made += backend->reason().find("memory was short") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(made, 0);
}

TEST_F(EmulatedCuda, aModelLargerThanTheCardStreamsThroughIt) {
  const auto model = Model::open(sourceFolder() / "assets/tales");  // 8 MB of weights
  auto prompt = std::make_shared<Prompt>();
  for (const int32_t id : {5, 70, 300, 12, 9, 41}) prompt->tokens.push_back({id});
  Job job;
  const auto expected = runForward(model, prompt, std::make_shared<CpuBackend>(), {}, job);
  ::setenv("EMULATED_MIB", "8", 1);
  const auto backend = std::make_shared<GuardedBackend>(std::make_shared<CudaBackend>(), std::make_shared<CpuBackend>());
  for (const char* when : {"first", "again"}) {
    const auto trace = runForward(model, prompt, backend, {}, job);
    const Matrix a = expected->logits(5, 1, job), b = trace->logits(5, 1, job);
    for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], 1e-4) << when;
    EXPECT_EQ(backend->reason(), "") << when;  // all of it on the card
  }
}

TEST_F(EmulatedCuda, compositionInStripsOfWhichOneStays) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = Model::open(goldenFolder() / "models" / "qwen2");
  CompositionOptions here;
  here.memoryBytes = 1;  // strips and tiles of the least size
  CompositionOptions there = here;
  there.backend = std::make_shared<GuardedBackend>(std::make_shared<CudaBackend>(), std::make_shared<CpuBackend>());
  Job job;
  const Composition a = composition(*model, here, job), b = composition(*model, there, job);
  for (size_t kind = 0; kind < a.values.size(); ++kind) {
    ASSERT_EQ(a.values[kind].size(), b.values[kind].size());
    for (size_t i = 0; i < a.values[kind].size(); ++i) ASSERT_NEAR(a.values[kind][i], b.values[kind][i], 1e-6);
  }
  EXPECT_EQ(there.backend->reason(), "");
}
