// Operations and bytes that the code counts against the formulas that it states, at 32,768 tokens too; nothing holds N x N.
#include <gtest/gtest.h>

#include <cmath>

#include "core/mechanisms/layer_cost.h"
#include "core/mechanisms/registry.h"
#include "tests/core/mechanisms/head_fixture.h"

namespace headscope::tests {
namespace {

using namespace core;

constexpr int64_t kSize = 32768, kWide = 4;

Cost costOf(const char* word, const RandomHead& head) {
  Job job;
  const auto run = parseMechanism(word)->bind(head.input, job);
  wholeOutput(*run, head.input.count(), head.input.value.cols, job);
  return run->cost();
}

TEST(Counts, masksAtThirtyTwoThousandTokens) {
  const RandomHead head(kSize, kWide, kWide);
  const double n = kSize, w = 64;
  struct Case {
    const char* word;
    double kept;
  };
  const Case cases[] = {
      {"local:window=64", n * w - w * (w - 1) / 2},
      {"sinks:sinks=4,window=64", n * w - w * (w - 1) / 2 + 4 * (n - w) - 4 * 3 / 2 - 0.0},
      {"dilated:window=8,step=16", n * 8 - 16.0 * 8 * 7 / 2},
      {"block:size=64,blocks=diagonal", n / 64 * (64.0 * 65 / 2)},
  };
  for (const Case& c : cases) {
    const Cost cost = costOf(c.word, head);
    if (std::string(c.word).rfind("sinks", 0) == 0) {
      // Rows 64 to 67 see their sinks partly inside the window: counted by hand as w + min(4, i + 1 - w)
      double kept = 0;
      for (int64_t i = 0; i < kSize; ++i) kept += static_cast<double>(std::min<int64_t>(i + 1, 64) + std::clamp<int64_t>(i + 1 - 64, 0, 4));
      EXPECT_EQ(cost.keptPairs, kept) << c.word;
    } else {
      EXPECT_EQ(cost.keptPairs, c.kept) << c.word;
    }
    EXPECT_GE(cost.pairs, cost.keptPairs) << c.word;
    EXPECT_LE(cost.pairs, 2.2 * cost.keptPairs) << c.word;  // block edges
    EXPECT_DOUBLE_EQ(cost.operations, cost.pairs * (2 * kWide + 2 * kWide + 4) + n * kWide) << c.word;
    EXPECT_DOUBLE_EQ(cost.bytesHeld, 4 * (64.0 * 256 + 256 * 2 * kWide + 128 + 3 * n)) << c.word;
    EXPECT_LT(cost.bytesMoved, 4 * n * 64 * 2 * kWide) << c.word;
  }
}

TEST(Counts, causalAtThirtyTwoThousandTokens) {
  const RandomHead head(kSize, kWide, kWide);
  const Cost cost = costOf("causal", head);
  const double n = kSize;
  EXPECT_EQ(cost.keptPairs, n * (n + 1) / 2);
  EXPECT_LE(cost.pairs, 1.01 * cost.keptPairs);  // blocks above the diagonal are left out
  EXPECT_DOUBLE_EQ(cost.operations, cost.pairs * (2 * kWide + 2 * kWide + 4) + n * kWide);
  EXPECT_DOUBLE_EQ(cost.bytesHeld, 4 * (64.0 * 256 + 256 * 2 * kWide + 128 + 3 * n));
}

TEST(Counts, featuresAndLowRanksAtThirtyTwoThousandTokens) {
  const RandomHead small(kSize / 4, kWide, kWide), large(kSize, kWide, kWide);
  for (const char* word :
       {"linear", "rfa:features=8", "performer:features=8", "linformer:rank=16", "nystrom:landmarks=16", "dense_attention:order=linear"}) {
    const Cost a = costOf(word, small), b = costOf(word, large);
    EXPECT_NEAR(b.operations / a.operations, 4, 0.2) << word;  // linear in N, beside what is done once
    EXPECT_DOUBLE_EQ(b.bytesHeld, a.bytesHeld) << word;        // whatever N is
    EXPECT_NEAR(b.bytesMoved / a.bytesMoved, 4, 1e-9) << word;
    EXPECT_FALSE(b.formula.empty()) << word;
    EXPECT_FALSE(b.heldFormula.empty()) << word;
  }
  const double n = kSize, k = kWide, m = 16;
  EXPECT_DOUBLE_EQ(costOf("nystrom:landmarks=16", large).operations,
                   2 * n * m * (4 * k + 4) + 2 * n * k + m * k + 2 * m * m * k + m * m * (2 * k + 4) + 48 * m * m * m);
}

TEST(Counts, quadraticOnesByTheirFormulas) {
  const int64_t size = 640;
  const double n = size, k = kWide;
  const RandomHead head(size, kWide, kWide);
  for (const char* word : {"causal", "dense", "alibi", "nope", "strided:stride=8", "global:window=16"}) {
    const Cost cost = costOf(word, head);
    EXPECT_DOUBLE_EQ(cost.operations, cost.pairs * (4 * k + 4) + n * k) << word;
  }
  EXPECT_EQ(costOf("causal", head).keptPairs, n * (n + 1) / 2);
  EXPECT_EQ(costOf("off", head).operations, 0);
  const Cost clustered = costOf("clustered:clusters=8,visit=8", head);
  EXPECT_EQ(clustered.keptPairs, n * (n + 1) / 2);
  EXPECT_DOUBLE_EQ(clustered.operations, clustered.pairs * (4 * k + 4) + n * k + n * 8 * (2 * k + 1));
  const RandomHead both(size, kWide, kWide, 1.0, false);
  EXPECT_DOUBLE_EQ(costOf("dense_attention:order=quadratic", both).operations, 4 * n * n * k);
  EXPECT_DOUBLE_EQ(costOf("dense_attention:order=linear", both).operations, 4 * n * k * k);
}

TEST(Counts, layersByTheirFormulasAndTheirOrdersAgree) {
  const LayerShape shape{24, 3};
  Random random(2);
  const auto filled = [&](int64_t rows, int64_t cols) {
    Matrix m(rows, cols);
    for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(random.normal());
    return m;
  };
  std::vector<Matrix> weights;
  for (int w = 0; w < 4; ++w) weights.push_back(filled(24, 24));
  for (const int64_t n : {1, 7, 130}) {
    const Matrix x = filled(n, 24);
    Matrix softmax(n, 24), linear(n, 24), quadratic(n, 24);
    Job job;
    for (const auto& [kind, out] : {std::pair{LayerKind::Softmax, &softmax}, std::pair{LayerKind::DenseLinear, &linear},
                                    std::pair{LayerKind::DenseQuadratic, &quadratic}}) {
      EXPECT_DOUBLE_EQ(runLayer(kind, shape, x, weights, out->view(), job).operations, layerOperations(kind, shape, n)) << n;
    }
    std::vector<double> expected;
    for (int64_t i = 0; i < quadratic.size(); ++i) expected.push_back(static_cast<double>(quadratic.data()[i]));
    EXPECT_LE(relativeError(linear, expected), 2e-5) << n;
    // Softmax by loops in double
    std::vector<double> mixed(static_cast<size_t>(n * 24)), out(static_cast<size_t>(n * 24), 0.0);
    const auto projected = [&](const Matrix& w) {
      std::vector<double> y(static_cast<size_t>(n * 24), 0.0);
      for (int64_t i = 0; i < n * 24; ++i) {
        for (int64_t c = 0; c < 24; ++c) y[static_cast<size_t>(i)] += static_cast<double>(x(i / 24, c)) * static_cast<double>(w(i % 24, c));
      }
      return y;
    };
    const auto q = projected(weights[0]), k = projected(weights[1]), v = projected(weights[2]);
    for (int64_t h = 0; h < 3; ++h) {
      for (int64_t i = 0; i < n; ++i) {
        std::vector<double> scores(static_cast<size_t>(n), 0.0);
        double sum = 0;
        for (int64_t j = 0; j < n; ++j) {
          for (int64_t c = h * 8; c < h * 8 + 8; ++c)
            scores[static_cast<size_t>(j)] += q[static_cast<size_t>(i * 24 + c)] * k[static_cast<size_t>(j * 24 + c)];
          sum += scores[static_cast<size_t>(j)] = std::exp(scores[static_cast<size_t>(j)] / std::sqrt(8.0));
        }
        for (int64_t j = 0; j < n; ++j) {
          for (int64_t c = h * 8; c < h * 8 + 8; ++c)
            mixed[static_cast<size_t>(i * 24 + c)] += scores[static_cast<size_t>(j)] / sum * v[static_cast<size_t>(j * 24 + c)];
        }
      }
    }
    for (int64_t i = 0; i < n * 24; ++i) {
      for (int64_t c = 0; c < 24; ++c)
        out[static_cast<size_t>(i)] += mixed[static_cast<size_t>(i / 24 * 24 + c)] * static_cast<double>(weights[3](i % 24, c));
    }
    EXPECT_LE(relativeError(softmax, out), 5e-5) << n;
  }
}

}  // namespace
}  // namespace headscope::tests
