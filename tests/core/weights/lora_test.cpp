#include "core/weights/lora.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/model/adapter.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/head_weights.h"
#include "core/weights/layer_factors.h"
#include "core/weights/words.h"
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

// Of B A, which no strength changes.
TEST(Lora, wastedRankIsTheSameAtEveryStrength) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto full = loraModules(*openPair("llama_mlp_too").adapted, Job()),
             none = loraModules(*openPair("llama_mlp_too", 0).adapted, Job());
  ASSERT_EQ(full.size(), none.size());
  for (size_t i = 0; i < full.size(); ++i) {
    EXPECT_EQ(none[i].wastedRank, full[i].wastedRank) << full[i].path;
    EXPECT_EQ(none[i].sigma[0], 0);
  }
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

namespace {

/// A PEFT folder with random factors (and magnitudes) for every attention map of a latent-attention model's layers.
struct LatentAdapter {
  fs::path folder = fs::temp_directory_path() / ("headscope_latent_adapter_" + std::to_string(::getpid()));
  LatentAdapter(const Model& model, bool isDora) {
    fs::create_directories(folder);
    SafetensorsWriter writer;
    std::mt19937 engine(5);
    std::normal_distribution<float> normal(0, 0.2F);
    const auto add = [&](const std::string& name, std::vector<int64_t> shape, float shift) {
      std::vector<float> values(static_cast<size_t>(shape[0] * (shape.size() > 1 ? shape[1] : 1)));
      for (float& v : values) v = normal(engine) + shift;
      writer.add("base_model.model." + name, std::move(shape), std::move(values));
    };
    nlohmann::json targets = nlohmann::json::array();
    for (const char* name : {"q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"}) {
      bool isThere = false;
      for (int64_t l = 0; l < model.spec().layers; ++l) {
        const std::string module = "model.layers." + std::to_string(l) + ".self_attn." + name;
        const TensorInfo* info = model.checkpoint().find(module + ".weight");
        if (info == nullptr) continue;
        isThere = true;
        add(module + ".lora_A.weight", {3, info->shape[1]}, 0);
        add(module + ".lora_B.weight", {info->shape[0], 3}, 0);
        if (isDora) add(module + ".lora_magnitude_vector", {info->shape[0]}, 2);
      }
      if (isThere) targets.push_back(name);
    }
    writer.write(folder / "adapter_model.safetensors");
    const nlohmann::json config = {{"peft_type", "LORA"}, {"r", 3}, {"lora_alpha", 3}, {"target_modules", targets}, {"use_dora", isDora}};
    std::ofstream(folder / "adapter_config.json") << config.dump();
  }
  ~LatentAdapter() { fs::remove_all(folder); }
};

/// A PEFT folder with random factors of rank r for one attention map of every layer.
struct RandomAdapter {
  fs::path folder = fs::temp_directory_path() / ("headscope_random_adapter_" + std::to_string(::getpid()));
  RandomAdapter(const Model& model, const std::string& map, int64_t rank) {
    fs::create_directories(folder);
    SafetensorsWriter writer;
    std::mt19937 engine(7);
    std::normal_distribution<float> normal(0, 0.2F);
    const auto add = [&](const std::string& name, int64_t rows, int64_t cols) {
      std::vector<float> values(static_cast<size_t>(rows * cols));
      for (float& v : values) v = normal(engine);
      writer.add("base_model.model." + name, {rows, cols}, std::move(values));
    };
    for (int64_t l = 0; l < model.spec().layers; ++l) {
      const std::string module = "model.layers." + std::to_string(l) + ".self_attn." + map;
      const TensorInfo* info = model.checkpoint().find(module + ".weight");
      add(module + ".lora_A.weight", rank, info->shape[1]);
      add(module + ".lora_B.weight", info->shape[0], rank);
    }
    writer.write(folder / "adapter_model.safetensors");
    const nlohmann::json config = {{"peft_type", "LORA"}, {"r", rank}, {"lora_alpha", rank}, {"target_modules", {map}}};
    std::ofstream(folder / "adapter_config.json") << config.dump();
  }
  ~RandomAdapter() { fs::remove_all(folder); }
};

/// Against the dense change of the merged weights: its right singular vectors, as far as they are no rounding.
void expectWriteCosines(const Model& base, const Model& adapted, const std::string& where) {
  const LoraLayer layer = layerLora(base, adapted, 0, {}, Job());
  const HeadWeights w0 = headWeights(base, 0, Fold::Off), w1 = headWeights(adapted, 0, Fold::Off);
  for (int64_t h = 0; h < w0.heads; ++h) {
    const int64_t g = w0.kvHeadOf(h);
    DoubleMatrix change = transposedMultiply(DoubleMatrix::from(w1.valueOf(g)), DoubleMatrix::from(w1.outputOf(h)));
    const DoubleMatrix before = transposedMultiply(DoubleMatrix::from(w0.valueOf(g)), DoubleMatrix::from(w0.outputOf(h)));
    for (size_t i = 0; i < change.values.size(); ++i) change.values[i] -= before.values[i];
    const SmallSvd written = smallSvd(change);
    int64_t rank = 0;
    while (rank < written.right.rows && written.sigma[size_t(rank)] > 1e-5 * written.sigma[0]) ++rank;
    DoubleMatrix rows(rank, change.cols);
    std::copy_n(written.right.data(), rows.values.size(), rows.data());
    const auto expected = singularValues(multiplyTransposed(rows, thinQr(w0.outputOf(h)).basis));
    const auto& found = layer.heads[size_t(h)].writeCosines;
    ASSERT_EQ(found.size(), expected.size()) << where << " head " << h;
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], std::min(1.0, expected[i]), 1e-3) << where << " head " << h;
  }
}

/// left^T M right, d x d in double.
DoubleMatrix dense(const HeadFactors& f, const DoubleMatrix* middle) {
  const DoubleMatrix right = DoubleMatrix::from(f.right);
  return transposedMultiply(DoubleMatrix::from(f.left), middle != nullptr ? multiply(*middle, right) : right);
}

DoubleMatrix less(DoubleMatrix a, const DoubleMatrix& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] -= b.values[i];
  return a;
}

void expectCircuit(const LoraCircuit& c, const DoubleMatrix& before, const DoubleMatrix& after, const std::string& where) {
  const auto difference = singularValues(less(after, before)), old = singularValues(before), now = singularValues(after);
  const auto compare = [&](const Spectrum& s, const std::vector<double>& expected) {
    for (size_t i = 0; i < std::min(s.sigma.size(), expected.size()); ++i) {
      EXPECT_NEAR(s.sigma[i], expected[i], 2e-6 * expected[0]) << where << " " << i;
    }
  };
  compare(c.change, difference), compare(c.before, old), compare(c.after, now);
  const auto norm = [](const std::vector<double>& s) { return std::sqrt(std::inner_product(s.begin(), s.end(), s.begin(), 0.0)); };
  EXPECT_NEAR(c.relative, norm(difference) / norm(old), 2e-6 * c.relative) << where;
}

}  // namespace

// A head writes no more than its change's rank: rows that an adapter changes one by one (DoRA), and ranks above the head's width.
TEST(Lora, principalAnglesWhereTheFactorsAreWiderThanTheChange) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const Pair dora = openPair("llama_dora");
  expectWriteCosines(*dora.base, *dora.adapted, "DoRA");
  for (const char* map : {"o_proj", "v_proj"}) {
    const RandomAdapter folder(*dora.base, map, 40);
    expectWriteCosines(*dora.base, *dora.base->withAdapter(Adapter::open(folder.folder)), map);
  }
}

TEST(Lora, latentHeadsAgainstDenseProducts) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"deepseek_v3", "deepseek_v2_lite"}) {
    for (const bool isDora : {false, true}) {
      const auto base = goldenModel(name);
      const LatentAdapter folder(*base, isDora);
      const auto adapted = base->withAdapter(Adapter::open(folder.folder));
      const HeadWeights w0 = headWeights(*base, 1, Fold::Off), w1 = headWeights(*adapted, 1, Fold::Off);
      for (const int64_t offset : {0, 3}) {
        LoraOptions options;
        options.offset = offset;
        const LoraLayer layer = layerLora(*base, *adapted, 1, options, Job());
        const DoubleMatrix r = rotationMatrix(base->spec().rope, w0.keyWidth, w0.nope, offset);
        for (int64_t h = 0; h < w0.heads; ++h) {
          const std::string where =
              std::string(name) + (isDora ? " DoRA" : "") + " head " + std::to_string(h) + " offset " + std::to_string(offset);
          const HeadLora& head = layer.heads[size_t(h)];
          expectCircuit(head.qk, dense(residualFactors(w0, h, Circuit::QK), &r), dense(residualFactors(w1, h, Circuit::QK), &r), where);
          expectCircuit(head.ov, dense(residualFactors(w0, h, Circuit::OV), nullptr), dense(residualFactors(w1, h, Circuit::OV), nullptr),
                        where);
        }
      }
    }
  }
}

TEST(Lora, rotaryOffsetsAgainstDenseProducts) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"llama_qkvo_rslora", "llama_dora", "pythia_fused"}) {
    const Pair p = openPair(name);
    LoraOptions options;
    options.offset = 5;
    const LoraLayer layer = layerLora(*p.base, *p.adapted, 0, options, Job());
    const HeadWeights w0 = headWeights(*p.base, 0, Fold::Off), w1 = headWeights(*p.adapted, 0, Fold::Off);
    const DoubleMatrix r = rotationMatrix(p.base->spec().rope, w0.keyWidth, 0, 5);
    for (int64_t h = 0; h < w0.heads; ++h) {
      expectCircuit(layer.heads[size_t(h)].qk, dense(residualFactors(w0, h, Circuit::QK), &r),
                    dense(residualFactors(w1, h, Circuit::QK), &r), name);
    }
  }
  const Pair p = openPair("gpt2_c_attn");
  LoraOptions options;
  options.offset = 1;
  EXPECT_THROW(layerLora(*p.base, *p.adapted, 0, options, Job()), Error);
}
