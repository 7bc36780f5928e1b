// Adapters of every shape, applied and compared dense in double with the reference changes.
#include "core/model/adapter.h"

#include <gtest/gtest.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 on its own AVX-512 intrinsics (bug 105593)
#endif
#include <Eigen/Dense>

#include "core/base/error.h"
#include "core/model/model.h"
#include "tests/support/golden.h"

namespace headscope::core {
namespace {

using Dense = Eigen::MatrixXd;

/// The whole map with its change, [out, in].
Dense dense(const Linear& linear) {
  const Matrix stored = linear.weight.decode();
  Dense w(stored.rows(), stored.cols());
  for (int64_t r = 0; r < stored.rows(); ++r) {
    for (int64_t c = 0; c < stored.cols(); ++c) w(r, c) = stored(r, c);
  }
  if (linear.change == nullptr) return w;
  for (const LowRank& term : linear.change->terms) {
    for (int64_t r = 0; r < w.rows(); ++r) {
      for (int64_t a = 0; a < term.down.rows(); ++a) {
        for (int64_t c = 0; c < w.cols(); ++c) w(r, c) += static_cast<double>(term.up(r, a)) * term.down(a, c);
      }
    }
  }
  for (size_t r = 0; r < linear.change->rowScale.size(); ++r) w.row(static_cast<long>(r)) *= linear.change->rowScale[r];
  return w;
}

struct Heads {
  std::vector<Dense> qk, ov;  // [d, d] per head
};

Heads headsOf(const Model& model, int64_t layer) {
  const ModelSpec& spec = model.spec();
  const AttentionWeights weights = model.attention(layer);
  Dense q = dense(weights.query), k = dense(weights.key);
  const Dense v = dense(weights.value), o = dense(weights.output);
  Heads heads;
  for (int64_t h = 0; h < spec.heads; ++h) {
    const int64_t g = spec.kvHeadOf(h);
    const Dense qh = q.middleRows(h * spec.headWidth, spec.headWidth), kh = k.middleRows(g * spec.headWidth, spec.headWidth);
    heads.qk.push_back(qh.transpose() * kh);
    heads.ov.push_back(v.middleRows(g * spec.valueWidth, spec.valueWidth).transpose() *
                       o.middleCols(h * spec.valueWidth, spec.valueWidth).transpose());
  }
  return heads;
}

TEST(Adapter, changesHeadsAsTheReference) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const auto& entry : std::filesystem::directory_iterator(tests::goldenFolder() / "adapters")) {
    SCOPED_TRACE(entry.path().filename().string());
    const auto adapter = Adapter::open(entry.path());
    const auto base = Model::open(tests::goldenFolder() / "models" / adapter->config().baseModel);
    const auto adapted = base->withAdapter(adapter, 1.0);
    const auto golden = SafetensorsFile::open(entry.path() / "heads.safetensors");
    for (int64_t l = 0; l < base->spec().layers; ++l) {
      const Heads before = headsOf(*base, l), after = headsOf(*adapted, l);
      for (int64_t h = 0; h < base->spec().heads; ++h) {
        const auto expect = [&](const char* name, const Dense& a, const Dense& b) {
          const TensorInfo* tensor = golden->find(std::string(name) + "." + std::to_string(l));
          ASSERT_NE(tensor, nullptr) << name;
          const double reference = decodeOne(tensor->dtype, tensor->data + h * static_cast<int64_t>(sizeOf(tensor->dtype)));
          EXPECT_NEAR((b - a).norm() / a.norm(), reference, 1e-6 * (1 + reference)) << name << " " << l << "." << h;
        };
        expect("relative.dW_QK", before.qk[static_cast<size_t>(h)], after.qk[static_cast<size_t>(h)]);
        expect("relative.dW_OV", before.ov[static_cast<size_t>(h)], after.ov[static_cast<size_t>(h)]);
      }
    }
  }
}

TEST(Adapter, atStrengthZeroIsTheBase) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"llama_dora", "qwen2_bias_modules_to_save", "gpt2_c_attn"}) {
    const auto adapter = Adapter::open(tests::goldenFolder() / "adapters" / name);
    const auto base = Model::open(tests::goldenFolder() / "models" / adapter->config().baseModel);
    const auto none = base->withAdapter(adapter, 0.0);
    const LayerWeights a = base->layer(0), b = none->layer(0);
    EXPECT_EQ(b.attention.query.change, nullptr);
    EXPECT_EQ(a.attention.query.bias, b.attention.query.bias);
    EXPECT_EQ(a.attentionNorm.gain, b.attentionNorm.gain);
    EXPECT_EQ(base->head().finalNorm.gain, none->head().finalNorm.gain);
  }
}

TEST(Adapter, savedNormsLieOnTheLineFromTheBase) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto adapter = Adapter::open(tests::goldenFolder() / "adapters" / "qwen2_bias_modules_to_save");
  const auto base = Model::open(tests::goldenFolder() / "models" / "qwen2");
  const auto gain = [&](double t) { return base->withAdapter(adapter, t)->head().finalNorm.gain; };
  const std::vector<float> at0 = gain(0), at1 = gain(1), at15 = gain(1.5);
  EXPECT_NE(at0, at1);
  for (size_t i = 0; i < at0.size(); ++i) EXPECT_NEAR(at15[i], at0[i] + 1.5 * (at1[i] - at0[i]), 1e-5);
}

TEST(Adapter, forAnotherModelIsRefused) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto adapter = Adapter::open(tests::goldenFolder() / "adapters" / "llama_qv");
  for (const char* other : {"gpt2", "llama2", "deepseek_v3"}) {
    const auto model = Model::open(tests::goldenFolder() / "models" / other);
    EXPECT_THROW(model->withAdapter(adapter), Error) << other;
  }
}

}  // namespace
}  // namespace headscope::core
