// Whole pictures of the rank map, spectra, shared subspace and singular vectors in words from data made by hand, against golden dumps,
// on the screen and on paper.
#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "core/weights/synthetic_checkpoint.h"
#include "tests/views/support.h"
#include "views/figure/text_dump.h"
#include "views/rank_scalars.h"
#include "views/spectra_data.h"
#include "views/subspace_data.h"
#include "views/words_data.h"

using namespace headscope;
using namespace headscope::tests;
using namespace headscope::views;
namespace fs = std::filesystem;

namespace {

/// 2 layers of 4 heads of width 4 with rotary positions: what the pictures take sizes from.
class WeightGolden : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / ("headscope_weight_golden_" + std::to_string(::getpid()));
    core::SyntheticCheckpoint plan;
    plan.layers = 2, plan.width = 16, plan.heads = plan.kvHeads = 4, plan.headWidth = 4;
    plan.write(folder_);
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  WeightGolden() {
    input.model = core::Model::open(folder_);
    input.selection.layer = 1, input.selection.head = 2;
  }

  void expectBoth(const char* view, const std::string& name, const ViewData& data, Size screen = {420, 300}) {
    const FixedMeasure measure;
    for (const bool isPaper : {false, true}) {
      const Theme theme = isPaper ? paperTheme() : lightTheme();
      ViewFrame frame{theme, measure, isPaper ? Size{240, 0} : screen, isPaper};
      frame.hover.layer = frame.hover.head = -1;
      expectGolden(name + (isPaper ? "_paper" : "_screen"), dumpFigure(findView(view)->draw(input, &data, frame), !isPaper));
    }
  }

  ViewInput input;

 private:
  static inline fs::path folder_;
};

core::Spectrum spectrumOf(std::vector<double> sigma) {
  core::Spectrum s;
  s.sigma = std::move(sigma);
  return s;
}

RankMapData rankMap() {
  RankMapData data;
  data.modelName = "small", data.isFolded = true, data.layers = 2, data.heads = 4, data.layersDone = 2;
  data.notes = {"layer 1: model.layers.1.self_attn.q_proj: NaN or infinite values in head 3"};
  for (const char* matrix : {"W_QK", "W_OV"}) {
    for (int i = 0; i < 8; ++i) {
      std::vector<double> sigma(4, 0.5);
      for (int r = 0; r < 4; ++r) sigma[static_cast<size_t>(r)] = r <= (matrix[2] == 'Q' ? i % 4 : 3 - i / 2) ? 4.0 / (1 + r) : 0;
      const bool isBroken = i == 7 && matrix[2] == 'Q';
      data.measures[matrix].push_back(core::rankMeasures(sigma));
      data.values[std::string(matrix) + " largest"].push_back(isBroken ? std::nan("") : sigma[0]);
    }
  }
  return data;
}

}  // namespace

TEST_F(WeightGolden, rankMap) {
  const RankMapData data = rankMap();
  expectBoth("rank_map", "rank_map", data);
  input.selection.brushed = {{0, 1}, {1, 0}, {1, 3}};
  input.options.words = {{"form", "scatter"}, {"x_matrix", "W_OV"}, {"x", "stable_rank"}};
  expectBoth("rank_map", "rank_scatter", data);
  RankMapData part = data;  // one layer of two is there, and it is said
  part.layersDone = 1;
  input.options.words.clear(), input.selection.brushed.clear();
  const FixedMeasure measure;
  const Theme theme = darkTheme();
  const Figure figure = findView("rank_map")->draw(input, &part, {theme, measure, {420, 300}});
  EXPECT_NE(dumpFigure(figure, true).find("1 of 2 layers"), std::string::npos);
}

TEST_F(WeightGolden, spectra) {
  SpectraData data;
  data.matrix = "W_QK", data.modelName = "small", data.isFolded = true;
  for (int64_t h = 0; h < 4; ++h) {
    const double size = 1 + static_cast<double>(h);
    data.lines.push_back({{1, h}, spectrumOf({4 * size, 2 * size, size, h == 2 ? 0.25 : 0.0})});
  }
  data.base = {{{1, 2}, spectrumOf({10, 6, 3, 0.25})}};
  expectBoth("spectra", "spectra", data);
  input.options.words = {{"form", "energy"}, {"axis", "log"}};
  input.options.numbers["rank_1"] = 2;
  expectBoth("spectra", "spectra_energy", data);
}

TEST_F(WeightGolden, offsets) {
  OffsetData data;
  data.matrix = "W_QK", data.modelName = "small";
  for (int64_t h = 0; h < 4; ++h) {
    core::OffsetCurve curve;
    curve.layer = 1, curve.head = h;
    for (const int64_t offset : {0, 8, 64}) {
      core::OffsetPoint point;
      point.offset = offset;
      point.measures.effectiveAt1Percent = 4 - h / 2,
      point.measures.stable = 1 + static_cast<double>(offset) / 64 + 0.25 * static_cast<double>(h);
      curve.points.push_back(point);
    }
    data.curves.push_back(std::move(curve));
  }
  input.options.words["form"] = "offset";
  expectBoth("spectra", "spectra_offset", data);
}

TEST_F(WeightGolden, subspace) {
  SubspaceData data;
  data.modelName = "small", data.isFolded = true;
  core::SharedSubspace& s = data.space;
  s.layer = 1, s.heads = 4, s.stackRows = 16, s.width = 16;
  for (int i = 0; i < 16; ++i) s.sigma.push_back(4.0 / (1 + i)), s.storedEnergy.push_back(std::pow(0.5, i + 1));
  for (int h = 0; h < 4; ++h) {
    s.headEnergy.emplace_back(16, 0.0);
    for (size_t i = 0; i < 16; ++i) s.headEnergy.back()[i] = static_cast<int>(i) / 4 == h ? 1 : 0.125;
  }
  s.notes = {"layer 1, output head 3: all zero"};
  data.errors = s.errors(), data.storedErrors = s.storedErrors();
  data.overlaps = core::Matrix::zeros(4, 4);
  for (int64_t h = 0; h < 4; ++h) data.overlaps(h, h) = 1;
  data.overlaps(0, 3) = data.overlaps(3, 0) = 0.75f;
  expectBoth("subspace", "subspace", data, {480, 360});
}

TEST_F(WeightGolden, words) {
  WordsData data;
  data.modelName = "small", data.head = {1, 2};
  data.words.isFolded = true;
  const auto list = [](int32_t first, double sign) {
    std::vector<core::WordScore> words;
    for (int32_t i = 0; i < 10; ++i) words.push_back({first + i, sign * (2 - 0.125 * i)});
    return words;
  };
  for (int32_t d = 0; d < 3; ++d)
    data.words.directions.push_back({3.0 - d, d == 2 ? 1 : d, list(0, 1), list(10, -1), list(20, 1), list(30, -1)});
  for (int32_t id = 0; id < 40; ++id) data.ids.push_back(id), data.labels.push_back("\u00b7word" + std::to_string(id));
  data.tokens = {"The", "\u00b7cat", "\u00b7sat"};
  data.prompt.assign(3, {{1.5f, -0.5f, 0.25f}, {}});
  expectBoth("words", "words", data);
}
