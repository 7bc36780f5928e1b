#include "core/weights/spectra.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <set>

#include "core/base/error.h"
#include "core/base/job.h"
#include "tests/core/weights/golden_weights.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

std::vector<int64_t> offsetsIn(const GoldenTensors& golden) {
  std::set<int64_t> offsets;
  for (const auto& [name, t] : golden) {
    if (name.starts_with("W_QK@")) offsets.insert(std::stoll(name.substr(5)));
  }
  return {offsets.begin(), offsets.end()};
}

struct Differences {
  double all = 0, unturned = 0;  // of all matrices; of those without a rotation, whose cosines the reference has in float32
};

/// Largest difference of any value as a share of its head's largest.
Differences largestDifference(const Model& model, const GoldenTensors& golden, SpectrumRoute route) {
  Differences worst;
  size_t compared = 0;
  for (const Fold fold : {Fold::Off, Fold::On}) {
    if (fold == Fold::On && !foldRefusal(model.spec()).empty()) continue;
    for (int64_t layer = 0; layer < model.spec().layers; ++layer) {
      SpectraOptions options;
      options.fold = fold, options.route = route, options.offsets = offsetsIn(golden);
      const LayerSpectra spectra = layerSpectra(model, layer, options, Job());
      EXPECT_TRUE(spectra.notes.empty());
      for (const MatrixSpectra& m : spectra.matrices) {
        const auto it = golden.find(m.name + (fold == Fold::On ? ".on." : ".off.") + std::to_string(layer));
        if (it == golden.end()) {
          EXPECT_TRUE(m.isWhole || m.name.find("rope@") != std::string::npos || model.spec().mla) << m.name;
          continue;
        }
        ++compared;
        const int64_t heads = it->second.shape[0], rank = it->second.shape[1];
        EXPECT_EQ(static_cast<int64_t>(m.heads.size()), heads) << m.name;
        for (int64_t h = 0; h < std::min<int64_t>(heads, static_cast<int64_t>(m.heads.size())); ++h) {
          const Spectrum& s = m.heads[static_cast<size_t>(h)];
          EXPECT_EQ(s.count(), rank) << m.name;
          const double* expected = it->second.values.data() + h * rank;
          for (int64_t i = 0; i < std::min(rank, s.count()); ++i) {
            const double difference = std::abs(s.sigma[static_cast<size_t>(i)] - expected[i]) / expected[0];
            worst.all = std::max(worst.all, difference);
            if (m.name.find('@') == std::string::npos) worst.unturned = std::max(worst.unturned, difference);
          }
        }
      }
    }
  }
  EXPECT_EQ(compared, golden.size());
  return worst;
}

}  // namespace

TEST(Spectra, goldenOfEveryFamily) {
  HEADSCOPE_REQUIRE_GOLDEN();
  std::printf("largest difference from the reference, as a share of the head's largest value\n%-20s %12s %12s\n", "model", "gram",
              "householder");
  for (const std::string& name : goldenModels("spectra.safetensors")) {
    const auto model = goldenModel(name);
    const GoldenTensors golden = goldenTensors(goldenFolder() / "models" / name / "spectra.safetensors");
    const Differences gram = largestDifference(*model, golden, SpectrumRoute::Gram);
    const Differences exact = largestDifference(*model, golden, SpectrumRoute::Householder);
    std::printf("%-20s %12.2e %12.2e\n", name.c_str(), gram.all, exact.all);
    EXPECT_LE(gram.all, 1e-6) << name;
    EXPECT_LE(exact.all, 1e-6) << name;
    EXPECT_LE(exact.unturned, 1e-12) << name;  // gains are folded in double too
  }
}

TEST(Spectra, foldingIsRefusedAfterTheSum) {
  ModelSpec spec;
  spec.normPlacement = NormPlacement::AfterSum;
  EXPECT_FALSE(foldRefusal(spec).empty());
  EXPECT_EQ(defaultFold(spec), Fold::Off);
  spec.normPlacement = NormPlacement::BeforeAndAfter;  // Gemma 2: the gain before the block folds, those after it are left alone
  EXPECT_EQ(defaultFold(spec), Fold::On);
}

TEST(Spectra, unknownMatrixNamesTheKnownOnes) {
  HEADSCOPE_REQUIRE_GOLDEN();
  SpectraOptions options;
  options.matrices = {"W_XY"};
  try {
    layerSpectra(*goldenModel("gpt2"), 0, options, Job());
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("W_QK"), std::string::npos);
  }
  options.matrices.clear();
  options.offsets = {1};
  EXPECT_THROW(layerSpectra(*goldenModel("gpt2"), 0, options, Job()), Error);  // learned positions
}

TEST(Spectra, packedFormReadsBackAndRejectsDamage) {
  HEADSCOPE_REQUIRE_GOLDEN();
  SpectraOptions options;
  options.matrices = {"W_QK", "whole_W_Q"};
  const LayerSpectra spectra = layerSpectra(*goldenModel("gpt2"), 1, options, Job());
  const std::string bytes = packSpectra(spectra);
  LayerSpectra back;
  ASSERT_TRUE(parseSpectra(bytes, back));
  EXPECT_EQ(packSpectra(back), bytes);
  EXPECT_EQ(back.find("W_QK")->heads[2].sigma, spectra.find("W_QK")->heads[2].sigma);
  for (size_t cut = 0; cut < bytes.size(); cut += 7) EXPECT_FALSE(parseSpectra(std::string_view(bytes).substr(0, cut), back));
}

TEST(Spectra, resumesFromTheCache) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto folder = std::filesystem::temp_directory_path() / ("headscope_spectra_cache_" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  const DiskCache cache(folder, 1 << 20);
  const auto model = goldenModel("gpt2");
  SpectraOptions options;
  options.fold = Fold::On;
  Job stopped;
  int64_t done = 0;
  EXPECT_THROW(eachLayerSpectra(*model, options, cache, stopped,
                                [&](LayerSpectra s) {
                                  EXPECT_FALSE(s.isFromCache);
                                  if (++done == 2) stopped.cancel();
                                }),
               Cancelled);
  EXPECT_EQ(done, 2);
  Job again;
  std::vector<bool> kept;
  eachLayerSpectra(*model, options, cache, again, [&](LayerSpectra s) { kept.push_back(s.isFromCache); });
  EXPECT_EQ(kept, (std::vector<bool>{true, true, false}));
  options.fold = Fold::Off;
  kept.clear();
  Job other;
  eachLayerSpectra(*model, options, cache, other, [&](LayerSpectra s) { kept.push_back(s.isFromCache); });
  EXPECT_EQ(kept, (std::vector<bool>{false, false, false}));
  std::filesystem::remove_all(folder);
}
