// What hostile or odd weights and adapters give: named, marked, the rest computed.
#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/model/adapter.h"
#include "core/weights/lora.h"
#include "core/weights/spectra.h"
#include "core/weights/subspace.h"
#include "core/weights/synthetic_checkpoint.h"
#include "core/weights/truncated_head.h"
#include "core/weights/words.h"

using namespace headscope::core;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kWidth = 48, kHead = 12;

/// 2 layers of 4 heads. Layer 0: head 1's queries hold a NaN, head 2's output is zero; the rest is random.
struct OddModel {
  fs::path folder = fs::temp_directory_path() / ("headscope_bad_input_" + std::to_string(::getpid()));
  SyntheticCheckpoint plan;
  std::shared_ptr<const Model> model;
  OddModel() {
    plan.layers = 2, plan.width = kWidth, plan.heads = plan.kvHeads = 4, plan.headWidth = kHead, plan.isRunnable = true;
    plan.plant = [this](const std::string& name, MatrixView w) {
      if (name == plan.queryName(0)) w(kHead + 3, 7) = std::numeric_limits<float>::quiet_NaN();
      if (name != plan.outputName(0)) return;
      for (int64_t r = 0; r < w.rows; ++r) {
        for (int64_t c = 2 * kHead; c < 3 * kHead; ++c) w(r, c) = 0;
      }
    };
    plan.write(folder / "model");
    model = Model::open(folder / "model");
  }
  ~OddModel() { fs::remove_all(folder); }

  /// q_proj and o_proj of every layer, of rank r.
  fs::path adapter(int64_t r) const {
    SafetensorsWriter writer;
    uint64_t state = 3;
    const auto add = [&](const std::string& name, int64_t rows, int64_t cols) {
      std::vector<float> values(static_cast<size_t>(rows * cols));
      for (float& v : values) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        v = static_cast<float>(state >> 40) * 0x1p-24F - 0.5F;
      }
      writer.add("base_model.model." + name, {rows, cols}, std::move(values));
    };
    for (int64_t l = 0; l < 2; ++l) {
      for (const char* map : {"q_proj", "o_proj"}) {
        const std::string module = "model.layers." + std::to_string(l) + ".self_attn." + map;
        add(module + ".lora_A.weight", r, kWidth);
        add(module + ".lora_B.weight", kWidth, r);
      }
    }
    const fs::path path = folder / ("adapter" + std::to_string(r));
    fs::create_directories(path);
    writer.write(path / "adapter_model.safetensors");
    const nlohmann::json config = {{"peft_type", "LORA"}, {"r", r}, {"lora_alpha", 1}, {"target_modules", {"q_proj", "o_proj"}}};
    std::ofstream(path / "adapter_config.json") << config.dump();
    return path;
  }
};

}  // namespace

TEST(BadInput, anAdapterOnBrokenAndZeroHeads) {
  const OddModel odd;
  const auto adapted = odd.model->withAdapter(Adapter::open(odd.adapter(3)));
  const LoraLayer layer = layerLora(*odd.model, *adapted, 0, {}, Job());
  EXPECT_FALSE(layer.heads[1].qk.before.isFinite);
  EXPECT_TRUE(std::isnan(layer.heads[1].qk.relative));
  EXPECT_TRUE(std::isfinite(layer.heads[1].ov.relative));  // the rest of the head
  ASSERT_GE(layer.notes.size(), 2U);
  EXPECT_EQ(layer.notes[0], "model.layers.0.self_attn.q_proj: NaN or infinite values");
  EXPECT_NE(layer.notes[1].find("W_QK of head 1"), std::string::npos);
  try {
    headWords(*odd.model, {0, 1}, Circuit::QK, 3, 3, Job());
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("W_QK of head 0.1"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(std::isinf(layer.heads[2].ov.relative));  // a change of nothing at all
  EXPECT_EQ(rankMeasures(layer.heads[2].ov.before.sigma).effectiveAt1Percent, 0);
  for (const size_t h : {0U, 3U}) EXPECT_TRUE(std::isfinite(layer.heads[h].qk.relative) && std::isfinite(layer.heads[h].ov.relative));
}

// By the Gram route and in double: the tensor that holds the number, and the head where it is one head's.
TEST(BadInput, brokenTensorsAreNamedAsTheyAreStored) {
  const OddModel odd;
  for (const SpectrumRoute route : {SpectrumRoute::Gram, SpectrumRoute::Householder}) {
    SpectraOptions options;
    options.route = route;
    EXPECT_EQ(layerSpectra(*odd.model, 0, options, Job()).notes,
              (std::vector<std::string>{"model.layers.0.self_attn.q_proj: NaN or infinite values in head 1"}));
    EXPECT_TRUE(layerSpectra(*odd.model, 1, options, Job()).notes.empty());
  }
  SyntheticCheckpoint latent;
  latent.family = SyntheticCheckpoint::Family::DeepSeekV3, latent.layers = 1;
  latent.plant = [](const std::string& name, MatrixView w) {
    if (name.find("q_a_proj") != std::string::npos) w(2, 3) = std::numeric_limits<float>::infinity();
    if (name.find("kv_a_proj") != std::string::npos) w(1, 1) = std::numeric_limits<float>::quiet_NaN();
  };
  latent.write(odd.folder / "latent");
  const auto model = Model::open(odd.folder / "latent");
  for (const SpectrumRoute route : {SpectrumRoute::Gram, SpectrumRoute::Householder}) {
    SpectraOptions options;
    options.route = route;
    EXPECT_EQ(layerSpectra(*model, 0, options, Job()).notes,
              (std::vector<std::string>{"model.layers.0.self_attn.kv_a_proj_with_mqa: NaN or infinite values",
                                        "model.layers.0.self_attn.q_a_proj: NaN or infinite values"}));
  }
}

TEST(BadInput, adapterRanksOfNothingAndBeyondTheWidth) {
  const OddModel odd;
  EXPECT_THROW(Adapter::open(odd.adapter(0)), Error);
  const int64_t wide = kWidth + 9;
  const auto adapted = odd.model->withAdapter(Adapter::open(odd.adapter(wide)));
  const LoraLayer layer = layerLora(*odd.model, *adapted, 1, {}, Job());
  const HeadWeights w0 = headWeights(*odd.model, 1, Fold::Off), w1 = headWeights(*adapted, 1, Fold::Off);
  for (int64_t h = 0; h < 4; ++h) {
    DoubleMatrix change = transposedMultiply(DoubleMatrix::from(w1.queryOf(h)), DoubleMatrix::from(w1.keyOf(h)));
    const DoubleMatrix before = transposedMultiply(DoubleMatrix::from(w0.queryOf(h)), DoubleMatrix::from(w0.keyOf(h)));
    for (size_t i = 0; i < change.values.size(); ++i) change.values[i] -= before.values[i];
    const auto expected = singularValues(change);
    const auto& sigma = layer.heads[static_cast<size_t>(h)].qk.change.sigma;
    ASSERT_EQ(static_cast<int64_t>(sigma.size()), std::min(kWidth, 2 * kHead));
    for (size_t i = 0; i < sigma.size(); ++i) EXPECT_NEAR(sigma[i], expected[i], 2e-6 * expected[0]);
  }
  for (const LoraModule& m : loraModules(*adapted, Job())) {
    EXPECT_EQ(m.rank, wide);
    EXPECT_GE(m.wastedRank, wide - kWidth);  // no product of rank above the width
  }
}

TEST(BadInput, subspacesLeaveBrokenHeadsOutAndSayWhich) {
  const OddModel odd;
  const HeadWeights w = headWeights(*odd.model, 0, Fold::Off);
  const SharedSubspace queries = sharedSubspace(w, SubspaceSide::Query, Job()), outputs = sharedSubspace(w, SubspaceSide::Output, Job());
  ASSERT_EQ(queries.notes.size(), 1U);
  EXPECT_NE(queries.notes[0].find("head 1"), std::string::npos);
  ASSERT_EQ(outputs.notes.size(), 1U);
  EXPECT_NE(outputs.notes[0].find("head 2"), std::string::npos);
  for (const double e : queries.errors()) EXPECT_TRUE(std::isfinite(e));
  EXPECT_EQ(outputs.headError(2, 0), 0);
}

TEST(BadInput, aBrokenHeadIsNotTruncated) {
  const OddModel odd;
  auto prompt = std::make_shared<Prompt>();
  prompt->tokens.resize(5);
  Job job;
  const auto trace = runForward(odd.model, prompt, openBackend("cpu"), {}, job);
  try {
    const TruncatedHead head(trace, {0, 1}, Fold::On, job);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("W_Q of head 0.1"), std::string::npos) << e.what();
  }
  const TruncatedHead zero(trace, {0, 2}, Fold::On, job);
  EXPECT_EQ(zero.weightErrors(Circuit::OV).front(), 0);  // nothing to lose
}

TEST(BadInput, aRunStoppedHalfWayKeepsItsLayersAndGoesOn) {
  const OddModel odd;
  const DiskCache cache(odd.folder / "cache", 1 << 20);
  Job job;
  std::vector<int64_t> done;
  EXPECT_THROW(eachLayerSpectra(*odd.model, {}, cache, job,
                                [&](LayerSpectra layer) {
                                  done.push_back(layer.layer);
                                  job.cancel();
                                }),
               Cancelled);
  EXPECT_EQ(done, (std::vector<int64_t>{0}));
  Job again;
  std::vector<bool> cached;
  eachLayerSpectra(*odd.model, {}, cache, again, [&](LayerSpectra layer) { cached.push_back(layer.isFromCache); });
  EXPECT_EQ(cached, (std::vector<bool>{true, false}));
}
