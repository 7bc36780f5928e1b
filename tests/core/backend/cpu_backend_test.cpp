// The CPU's operations against naive loops in double, on the table that other backends are checked with too.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/error.h"
#include "tests/support/naive_ops.h"
#include "tests/support/op_checks.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

void expectAllHold(const std::vector<OpCheck>& checks) {
  EXPECT_FALSE(checks.empty());
  for (const OpCheck& check : checks) {
    EXPECT_TRUE(check.isFinite) << check.name;
    EXPECT_TRUE(check.isMaskExact) << check.name;
    EXPECT_LE(check.difference, check.tolerance) << check.name;
  }
}

}  // namespace

TEST(CpuBackend, rowOperations) {
  CpuBackend backend;
  expectAllHold(checkRowOps(backend));
}

TEST(CpuBackend, linearMaps) {
  CpuBackend backend;
  expectAllHold(checkLinear(backend));
}

TEST(CpuBackend, attention) {
  CpuBackend backend;
  expectAllHold(checkAttention(backend));
}

TEST(CpuBackend, maps) {
  CpuBackend backend;
  expectAllHold(checkMaps(backend));
}

TEST(CpuBackend, weights) {
  CpuBackend backend;
  expectAllHold(checkWeights(backend));
}

TEST(CpuBackend, masks) {
  CpuBackend backend;
  expectAllHold(checkMasks(backend));
}

TEST(CpuBackend, exponentialIsAccurate) {
  double largest = 0;
  for (int i = -8650; i <= 8800; ++i) {
    const float x = static_cast<float>(i) * 0.01f;
    const double exact = std::exp(static_cast<double>(x));
    largest = std::max(largest, std::abs(cpu::exponential(x) / exact - 1.0));
  }
  EXPECT_LT(largest, 2e-7);
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(cpu::exponential(-infinity), 0.0f);
  EXPECT_EQ(cpu::exponential(infinity), infinity);
  EXPECT_EQ(cpu::exponential(0.0f), 1.0f);
  EXPECT_TRUE(std::isnan(cpu::exponential(std::nanf(""))));
}

TEST(CpuBackend, nanStaysInItsRows) {
  CpuBackend backend;
  const AttentionRule rule{1, 1, 4, 4, 0.5, 0, 0, true};
  Matrix q = randomMatrix(100, 4, 1), k = randomMatrix(100, 4, 2), v = randomMatrix(100, 4, 3);
  q(70, 2) = std::nanf("");
  const AttentionInput input{backend.upload(q), backend.upload(k), backend.upload(v), rule};
  const Tensor out = backend.allocate(100, 4);
  Job job;
  const AttentionStatistics rows = backend.attention(input, out, job);
  const Matrix lse = backend.download(rows.logSumExp), values = backend.download(out);
  for (int64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(std::isnan(lse(0, i)), i == 70) << i;
    EXPECT_EQ(std::isnan(values(i, 0)), i == 70) << i;
  }
  const Matrix row = backend.mapTile(input, rows, 0, {0, 70, 1, 0, 100, Pooling::Max}, job);
  EXPECT_TRUE(std::isnan(row(0, 3)));
  EXPECT_EQ(row(0, 71), 0.0f);  // masked stays masked
  const Matrix pooled = backend.mapTile(input, rows, 0, {3, 8, 1, 0, 13, Pooling::Max}, job);
  EXPECT_TRUE(std::isnan(pooled(0, 0)));
  const double shares[] = {0.9};
  const KeysNeeded needed = backend.keysNeeded(input, rows, nullptr, shares, job);
  EXPECT_TRUE(std::isnan(needed.plain(0, 70)));
  EXPECT_EQ(needed.plain(0, 0), 1.0f);
}

TEST(CpuBackend, cancelledJobStops) {
  CpuBackend backend;
  const Tensor x = backend.upload(randomMatrix(10, 10, 1));
  Job job;
  job.cancel();
  EXPECT_THROW(backend.scale(x, 2.0f, job), Cancelled);
}

TEST(OpenBackend, namesWhatCanNotBeHad) {
  EXPECT_EQ(openBackend("cpu")->name(), "cpu");
  EXPECT_EQ(openBackend("cpu")->reason(), "");
  EXPECT_NE(openBackend("auto"), nullptr);
  EXPECT_THROW(openBackend("tpu"), Error);
}
