// Synthetic checkpoints with planted structure: what the weights hold must be what the analyses report.
#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/composition.h"
#include "core/weights/spectra.h"
#include "core/weights/synthetic_checkpoint.h"
#include "tests/support/golden.h"

using namespace headscope::core;
namespace fs = std::filesystem;

namespace {

/// A folder below the temporary one, removed with its test.
struct Folder {
  fs::path path;
  explicit Folder(const std::string& name) : path(fs::temp_directory_path() / ("headscope_planted_" + name + std::to_string(::getpid()))) {
    fs::remove_all(path);
  }
  ~Folder() { fs::remove_all(path); }
};

const Spectrum& of(const LayerSpectra& s, const char* matrix, size_t head) { return s.find(matrix)->heads[head]; }

}  // namespace

TEST(Planted, aCircuitIsTheStrongestEdge) {
  const Folder folder("circuit");
  SyntheticCheckpoint plan;
  plan.layers = 3, plan.width = 96, plan.heads = plan.kvHeads = 4, plan.headWidth = 16;
  // Head 0.2 writes into coordinates 10..25, which head 2.1's query reads: W_O's columns and W_Q's rows on those coordinates.
  plan.plant = [&](const std::string& name, MatrixView w) {
    if (name == plan.outputName(0)) {
      for (int64_t r = 0; r < w.rows; ++r) {
        for (int64_t c = 2 * 16; c < 3 * 16; ++c) w(r, c) = r >= 10 && r < 26 ? w(r, c) * 3 : 0;
      }
    }
    if (name == plan.queryName(2)) {
      for (int64_t r = 1 * 16; r < 2 * 16; ++r) {
        for (int64_t c = 0; c < w.cols; ++c) w(r, c) = c >= 10 && c < 26 ? w(r, c) * 3 : 0;
      }
    }
  };
  plan.write(folder.path);
  Job job;
  CompositionOptions options;
  options.withNull = true;
  const Composition c = composition(*Model::open(folder.path), options, job);
  EXPECT_TRUE(c.notes.empty());
  double best = -1, second = -1;
  std::array<int64_t, 5> where{};
  for (int64_t k = 0; k < 3; ++k) {
    for (int64_t a = 0; a < 3; ++a) {
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t b = a + 1; b < 3; ++b) {
          for (int64_t j = 0; j < 4; ++j) {
            const auto kind = static_cast<CompositionKind>(k);
            const double excess = c.at(kind, a, i, b, j) - c.baseline(kind, a, i, b, j);
            if (excess > best)
              second = best, best = excess, where = {k, a, i, b, j};
            else
              second = std::max(second, excess);
          }
        }
      }
    }
  }
  EXPECT_EQ(where, (std::array<int64_t, 5>{0, 0, 2, 2, 1}));
  EXPECT_GT(best, 3 * second);
  EXPECT_EQ(c.at(CompositionKind::Query, 2, 1, 0, 2), 0);  // never backwards
}

TEST(Planted, lowRankZeroAndBrokenHeads) {
  const Folder folder("ranks");
  SyntheticCheckpoint plan;
  plan.layers = 2, plan.width = 80, plan.heads = 4, plan.kvHeads = 2, plan.headWidth = 12;
  plan.plant = [&](const std::string& name, MatrixView w) {
    if (name != plan.queryName(0)) return;
    for (int64_t r = 3; r < 12; ++r) std::copy_n(w.row(r % 3), w.cols, w.row(r));  // head 0: rank 3
    for (int64_t r = 12; r < 24; ++r) std::fill_n(w.row(r), w.cols, 0.0F);         // head 1: zero
    w(24, 5) = std::numeric_limits<float>::quiet_NaN();                            // head 2: broken
  };
  plan.write(folder.path);
  const auto model = Model::open(folder.path);
  const LayerSpectra s = layerSpectra(*model, 0, {}, Job());
  EXPECT_EQ(of(s, "W_QK", 0).signal(), 3);
  EXPECT_EQ(of(s, "W_Q", 0).signal(), 3);
  EXPECT_EQ(rankMeasures(of(s, "W_QK", 1).sigma).effectiveAt1Percent, 0);
  EXPECT_EQ(rankMeasures(of(s, "W_QK", 1).sigma).stable, 0);
  EXPECT_FALSE(of(s, "W_QK", 2).isFinite);
  EXPECT_FALSE(of(s, "W_Q", 2).isFinite);
  EXPECT_TRUE(of(s, "W_QK", 3).isFinite);
  EXPECT_TRUE(of(s, "W_OV", 2).isFinite);
  EXPECT_GT(rankMeasures(of(s, "W_QK", 3).sigma).effectiveAt1Percent, 6);
  ASSERT_EQ(s.notes.size(), 1U);
  EXPECT_NE(s.notes[0].find("layers.0.self_attn.q_proj"), std::string::npos) << s.notes[0];
  EXPECT_NE(s.notes[0].find("head 2"), std::string::npos) << s.notes[0];
  // Composition: the broken head's pairs alone are NaN.
  Job job;
  const Composition c = composition(*model, {}, job);
  EXPECT_FALSE(c.notes.empty());
  EXPECT_TRUE(std::isfinite(c.at(CompositionKind::Value, 0, 0, 1, 1)));
}

TEST(Planted, oneLayerHasNothingToCompose) {
  const Folder folder("one_layer");
  SyntheticCheckpoint plan;
  plan.layers = 1;
  plan.write(folder.path);
  Job job;
  const Composition c = composition(*Model::open(folder.path), {}, job);
  EXPECT_EQ(c.values[0], std::vector<float>(16, 0.0F));
  ASSERT_EQ(c.notes.size(), 1U);
}

TEST(Planted, halvesOfKvBProjMixHeadsAndPerHeadRowsDoNot) {
  // Every key head has rank 2 and every value head rank 9. Cut into halves, "key head h" is in truth other heads' keys and
  // values, so its rank comes out wrong.
  const Folder folder("mla_split");
  SyntheticCheckpoint plan;
  plan.family = SyntheticCheckpoint::Family::DeepSeekV3;
  plan.layers = 1, plan.width = 64, plan.heads = 4, plan.headWidth = 12, plan.nope = 12, plan.rope = 4, plan.latentRank = 40,
  plan.queryRank = 48;
  plan.plant = [&](const std::string& name, MatrixView w) {
    if (name != plan.keyValueUpName(0)) return;
    for (int64_t h = 0; h < 4; ++h) {
      for (int64_t r = 2; r < 12; ++r) std::copy_n(w.row(h * 24 + r % 2), w.cols, w.row(h * 24 + r));
      for (int64_t r = 9; r < 12; ++r) std::copy_n(w.row(h * 24 + 12 + r - 9), w.cols, w.row(h * 24 + 12 + r));
    }
  };
  plan.write(folder.path);
  const auto model = Model::open(folder.path);
  SpectraOptions options;
  const LayerSpectra heads = layerSpectra(*model, 0, options, Job());
  options.split = MlaSplit::Halves;
  const LayerSpectra halves = layerSpectra(*model, 0, options, Job());
  for (size_t h = 0; h < 4; ++h) {
    EXPECT_EQ(of(heads, "W_UK", h).signal(), 2);
    EXPECT_EQ(of(heads, "W_QK_nope_latent", h).signal(), 2);
    EXPECT_EQ(of(heads, "W_UV", h).signal(), 9);
    EXPECT_EQ(of(heads, "W_OV_latent", h).signal(), 9);
    // Halves give keys k0 v0 k1 v1 to the four heads and values k2 v2 k3 v3: every other head has the other kind's rank.
    EXPECT_EQ(of(halves, "W_QK_nope_latent", h).signal(), h % 2 == 0 ? 2 : 9);
    EXPECT_EQ(of(halves, "W_OV_latent", h).signal(), h % 2 == 0 ? 2 : 9);
  }
  EXPECT_EQ(of(halves, "W_UK", 1).signal(), 9);  // in truth head 0's values
  EXPECT_EQ(of(halves, "W_UV", 0).signal(), 2);  // in truth head 2's keys
}

TEST(Planted, float8BlocksAndOffsetsOfLatentHeads) {
  const Folder folder("mla_fp8");
  SyntheticCheckpoint plan;
  plan.family = SyntheticCheckpoint::Family::DeepSeekV3;
  plan.dtype = DType::F8_E4M3;
  plan.layers = 1, plan.width = 160, plan.heads = 3, plan.headWidth = 16, plan.nope = 16, plan.rope = 8, plan.latentRank = 40,
  plan.queryRank = 136;
  plan.write(folder.path);
  const auto model = Model::open(folder.path);
  SpectraOptions options;
  options.offsets = {0, 5};
  const LayerSpectra gram = layerSpectra(*model, 0, options, Job());
  options.route = SpectrumRoute::Householder;
  const LayerSpectra exact = layerSpectra(*model, 0, options, Job());
  ASSERT_NE(gram.find("W_QK@5"), nullptr);
  ASSERT_NE(gram.find("W_DQ"), nullptr);
  double moved = 0;
  for (const MatrixSpectra& m : gram.matrices) {
    for (size_t h = 0; h < m.heads.size(); ++h) {
      const auto& reference = of(exact, m.name.c_str(), h).sigma;
      ASSERT_EQ(reference.size(), m.heads[h].sigma.size());
      for (size_t i = 0; i < reference.size(); ++i) EXPECT_NEAR(m.heads[h].sigma[i], reference[i], 1e-6 * reference[0]) << m.name;
    }
  }
  for (size_t i = 0; i < 24; ++i) {
    EXPECT_NEAR(of(gram, "W_QK@0", 1).sigma[i], of(gram, "W_QK", 1).sigma[i], 1e-9);
    moved = std::max(moved, std::abs(of(gram, "W_QK@5", 1).sigma[i] - of(gram, "W_QK", 1).sigma[i]));
  }
  EXPECT_GT(moved, 1e-3);
}
