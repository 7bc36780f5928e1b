#include "core/weights/lora.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/model/adapter.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/head_weights.h"
#include "tests/core/weights/golden_weights.h"

using namespace headscope::core;
using namespace headscope::tests;
namespace fs = std::filesystem;

namespace {

struct Pair {
  std::shared_ptr<const Model> base, adapted;
};

/// The base's folder is named in the adapter's golden cases: tried in turn, as the config may only hold its name.
Pair openPair(const std::string& adapter, double strength = 1.0) {
  const auto loaded = Adapter::open(goldenFolder() / "adapters" / adapter);
  Pair p;
  p.base = Model::open(goldenFolder() / "models" / loaded->config().baseModel);
  p.adapted = p.base->withAdapter(loaded, strength);
  return p;
}

std::vector<std::string> adapters() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(goldenFolder() / "adapters")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

struct Worst {
  double sigma = 0, relative = 0;
};

Worst compare(const LoraLayer& layer, const GoldenTensors& golden) {
  Worst worst;
  const std::string at = "." + std::to_string(layer.layer);
  for (size_t h = 0; h < layer.heads.size(); ++h) {
    const HeadLora& head = layer.heads[h];
    const auto sigma = [&](const std::string& name, const Spectrum& s, double size) {
      const GoldenTensor& t = golden.at(name + at);
      const auto rank = static_cast<size_t>(t.shape[1]);
      ASSERT_EQ(s.sigma.size(), rank) << name;
      for (size_t i = 0; i < rank; ++i) worst.sigma = std::max(worst.sigma, std::abs(s.sigma[i] - t.values[h * rank + i]) / size);
    };
    const auto first = [&](const std::string& name) {
      const GoldenTensor& t = golden.at(name + at);
      return t.values[h * static_cast<size_t>(t.shape[1])];
    };
    // A change of nothing is judged against the head itself.
    const auto changeSize = [&](const char* change, const char* after) {
      return first(change) > 1e-9 * first(after) ? first(change) : first(after);
    };
    sigma("sigma.dW_QK", head.qk.change, changeSize("sigma.dW_QK", "sigma.W_QK_after"));
    sigma("sigma.dW_OV", head.ov.change, changeSize("sigma.dW_OV", "sigma.W_OV_after"));
    sigma("sigma.W_QK_after", head.qk.after, first("sigma.W_QK_after"));
    sigma("sigma.W_OV_after", head.ov.after, first("sigma.W_OV_after"));
    worst.relative = std::max({worst.relative, std::abs(head.qk.relative - golden.at("relative.dW_QK" + at).values[h]),
                               std::abs(head.ov.relative - golden.at("relative.dW_OV" + at).values[h])});
  }
  return worst;
}

}  // namespace

TEST(Lora, goldenOfEveryAdapter) {
  HEADSCOPE_REQUIRE_GOLDEN();
  std::printf("largest difference from the reference\n%-28s %12s %12s\n", "adapter", "sigma", "relative");
  for (const std::string& name : adapters()) {
    const Pair p = openPair(name);
    const GoldenTensors golden = goldenTensors(goldenFolder() / "adapters" / name / "heads.safetensors");
    Worst worst;
    for (int64_t l = 0; l < p.base->spec().layers; ++l) {
      const Worst w = compare(layerLora(*p.base, *p.adapted, l, {}, Job()), golden);
      worst = {std::max(worst.sigma, w.sigma), std::max(worst.relative, w.relative)};
    }
    std::printf("%-28s %12.2e %12.2e\n", name.c_str(), worst.sigma, worst.relative);
    EXPECT_LE(worst.sigma, 1e-5) << name;
    EXPECT_LE(worst.relative, 1e-5) << name;
  }
}

TEST(Lora, termsAddUpToTheChange) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const Pair p = openPair("llama_qkvo_rslora");
  const LoraLayer layer = layerLora(*p.base, *p.adapted, 1, {}, Job());
  const HeadWeights w0 = headWeights(*p.base, 1, Fold::Off), w1 = headWeights(*p.adapted, 1, Fold::Off);
  for (int64_t h = 0; h < w0.heads; ++h) {
    const int64_t g = w0.kvHeadOf(h);
    const auto term = [](ConstMatrixView l1, ConstMatrixView l0, ConstMatrixView r1, ConstMatrixView r0, bool isLeft, bool isRight) {
      DoubleMatrix l = DoubleMatrix::from(isLeft ? l1 : l0), r = DoubleMatrix::from(isRight ? r1 : r0);
      const DoubleMatrix a = DoubleMatrix::from(l0), b = DoubleMatrix::from(r0);
      for (size_t i = 0; isLeft && i < l.values.size(); ++i) l.values[i] -= a.values[i];
      for (size_t i = 0; isRight && i < r.values.size(); ++i) r.values[i] -= b.values[i];
      return singularValues(transposedMultiply(l, r));
    };
    const std::array<std::vector<double>, 3> qk = {term(w1.queryOf(h), w0.queryOf(h), w1.keyOf(g), w0.keyOf(g), true, false),
                                                   term(w1.queryOf(h), w0.queryOf(h), w1.keyOf(g), w0.keyOf(g), false, true),
                                                   term(w1.queryOf(h), w0.queryOf(h), w1.keyOf(g), w0.keyOf(g), true, true)};
    const LoraCircuit& c = layer.heads[size_t(h)].qk;
    for (size_t t = 0; t < 3; ++t) {
      double squared = 0;
      for (const double s : qk[t]) squared += s * s;
      EXPECT_NEAR(c.termNorms[t], std::sqrt(squared), 1e-5 * std::sqrt(squared));
      for (size_t i = 0; i < c.termSigma[t].size(); ++i) EXPECT_NEAR(c.termSigma[t][i], qk[t][i], 1e-5 * qk[t][0]);
    }
  }
  double share = 0;
  for (const HeadLora& h : layer.heads) share += h.shareQ;
  EXPECT_NEAR(share, 1.0, 1e-9);
}

TEST(Lora, modulesWastedRankAndOthersThanAttention) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const Pair p = openPair("llama_mlp_too");
  int64_t attention = 0, others = 0;
  for (const LoraModule& m : loraModules(*p.adapted, Job())) {
    (m.isAttention ? attention : others) += 1;
    EXPECT_EQ(m.rank, 2);
    EXPECT_EQ(m.wastedRank, m.rank - m.effectiveRank);
    EXPECT_GT(m.sigma[0], 0);
  }
  EXPECT_EQ(attention, 3);
  EXPECT_EQ(others, 6);
}

TEST(Lora, noChangeAtStrengthZero) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"llama_qkvo_rslora", "llama_dora", "gpt2_attn_and_proj"}) {
    const Pair p = openPair(name, 0.0);
    for (const HeadLora& h : layerLora(*p.base, *p.adapted, 0, {}, Job()).heads) {
      EXPECT_LE(h.qk.relative, 1e-6) << name;
      EXPECT_LE(h.ov.relative, 1e-6) << name;
      EXPECT_EQ(h.qk.intrudersLeft, 0) << name;
    }
  }
}

TEST(Lora, intrudersAndPrincipalAnglesAgainstDenseVectors) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const Pair p = openPair("gpt2_attn_and_proj");
  const LoraLayer layer = layerLora(*p.base, *p.adapted, 0, {}, Job());
  const HeadWeights w0 = headWeights(*p.base, 0, Fold::Off), w1 = headWeights(*p.adapted, 0, Fold::Off);
  for (int64_t h = 0; h < w0.heads; ++h) {
    const SingularVectors v0 = FactoredMatrix(w0.queryOf(h), w0.keyOf(h)).vectors(100),
                          v1 = FactoredMatrix(w1.queryOf(h), w1.keyOf(h)).vectors(10);
    const DoubleMatrix cosines = multiplyTransposed(DoubleMatrix::from(v1.left), DoubleMatrix::from(v0.left));
    int64_t intruders = 0;
    for (int64_t i = 0; i < cosines.rows; ++i) {
      double best = 0;
      for (int64_t j = 0; j < cosines.cols; ++j) best = std::max(best, std::abs(cosines(i, j)));
      intruders += best < 0.5;
    }
    EXPECT_EQ(layer.heads[size_t(h)].qk.intrudersLeft, intruders);
    // What dW_OV writes against what W_O wrote.
    const FactoredMatrix ov0(w0.valueOf(h), w0.outputOf(h)), ov1(w1.valueOf(h), w1.outputOf(h));
    DoubleMatrix change = DoubleMatrix::from(ov1.dense());
    const DoubleMatrix before = DoubleMatrix::from(ov0.dense());
    for (size_t i = 0; i < change.values.size(); ++i) change.values[i] -= before.values[i];
    const SmallSvd written = smallSvd(change);
    DoubleMatrix rows(6, change.cols);  // rank r_o + r_v
    std::copy_n(written.right.data(), rows.values.size(), rows.data());
    const auto expected = singularValues(multiplyTransposed(rows, thinQr(w0.outputOf(h)).basis));
    const auto& cosinesOf = layer.heads[size_t(h)].writeCosines;
    ASSERT_EQ(cosinesOf.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(cosinesOf[i], std::min(1.0, expected[i]), 1e-4);
  }
}

TEST(Lora, latentAttentionIsRefused) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("deepseek_v3");
  EXPECT_THROW(layerLora(*model, *model, 0, {}, Job()), Error);
}
