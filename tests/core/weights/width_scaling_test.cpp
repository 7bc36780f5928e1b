#include "core/weights/width_scaling.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/job.h"
#include "core/weights/dense.h"
#include "core/weights/head_weights.h"
#include "core/weights/intruders.h"
#include "core/weights/synthetic_checkpoint.h"

using namespace headscope::core;
namespace fs = std::filesystem;

TEST(WidthScaling, normsAndExponentsOfAFamily) {
  // Entries of one size at every width: the norm grows with the width's square root for random entries, with the width for aligned ones.
  const fs::path folder = fs::temp_directory_path() / ("headscope_widths_" + std::to_string(::getpid()));
  std::vector<NormPoint> points;
  for (const int64_t width : {32, 64, 128}) {
    SyntheticCheckpoint plan;
    plan.layers = 2, plan.width = width, plan.heads = 4, plan.kvHeads = 2, plan.headWidth = width / 4;
    plan.plant = [&](const std::string& name, MatrixView w) {
      for (int64_t r = 0; r < w.rows; ++r) {
        for (int64_t c = 0; c < w.cols; ++c) {
          if (name == plan.queryName(0) || name == plan.queryName(1)) w(r, c) = 0.1F;  // fully aligned
          if (name == plan.valueName(1) && r == 0 && c == 0 && width == 64) w(r, c) = std::numeric_limits<float>::quiet_NaN();
        }
      }
    };
    plan.write(folder / std::to_string(width));
    const auto model = Model::open(folder / std::to_string(width));
    Job job;
    for (const NormPoint& p : normPoints(*model, job)) {
      if (p.matrix == "W_K") {
        const Matrix w = decodeLinear(model->attention(p.layer).key);
        EXPECT_NEAR(p.spectral, singularValues(DoubleMatrix::from(w))[0], 1e-4 * p.spectral);
        EXPECT_EQ(p.fanIn, width);
        EXPECT_EQ(p.fanOut, width / 2);
        EXPECT_NEAR(p.mup(), std::sqrt(0.5), 1e-12);
      }
      points.push_back(p);
    }
  }
  fs::remove_all(folder);
  EXPECT_EQ(points.size(), 3U * 2 * 4);
  int64_t broken = 0;
  for (const NormPoint& p : points) broken += std::isnan(p.spectral);
  EXPECT_EQ(broken, 1);
  for (const WidthExponent& e : widthExponents(points)) {
    EXPECT_EQ(e.widths, 3);
    EXPECT_NEAR(e.mup, 0, 1e-12) << e.matrix;
    EXPECT_NEAR(e.standard, 1, 1e-12) << e.matrix;
    EXPECT_NEAR(e.fitted, e.matrix == "W_Q" ? 1.0 : 0.0, e.matrix == "W_Q" ? 1e-3 : 0.15) << e.matrix;
  }
  points.resize(8);  // one width
  EXPECT_TRUE(std::isnan(widthExponents(points)[0].fitted));
}

TEST(WidthScaling, spectralNormsOfOddMatrices) {
  Matrix zero = Matrix::zeros(5, 9), one(1, 1), none;
  one(0, 0) = -3;
  EXPECT_EQ(spectralNorm(zero, Job()), 0);
  EXPECT_NEAR(spectralNorm(one, Job()), 3, 1e-6);
  EXPECT_EQ(spectralNorm(none, Job()), 0);
}
