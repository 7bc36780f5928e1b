#include "core/weights/byte_panels.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "core/base/job.h"
#include "core/model/model.h"
#include "core/weights/head_grams.h"
#include "core/weights/small_product.h"
#include "core/weights/synthetic_checkpoint.h"
#include "tests/support/temporary_folder.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

Matrix turned(const Matrix& m) {
  Matrix out(m.cols(), m.rows());
  for (int64_t r = 0; r < m.rows(); ++r) {
    for (int64_t c = 0; c < m.cols(); ++c) out(c, r) = m(r, c);
  }
  return out;
}

/// Normal numbers of 8 bits, as bf16 holds them.
Matrix shortNumbers(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 0.02F);
  Matrix m(rows, cols);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(normal(engine)) & 0xFFFF0000U);
  return m;
}

DoubleMatrix naiveProduct(const Matrix& a, const Matrix& b) {
  DoubleMatrix out(a.rows(), b.rows());
  for (int64_t i = 0; i < a.rows(); ++i) {
    for (int64_t j = 0; j < b.rows(); ++j) {
      for (int64_t c = 0; c < a.cols(); ++c) out(i, j) += double(a(i, c)) * double(b(j, c));
    }
  }
  return out;
}

double largestDifference(const DoubleMatrix& a, const DoubleMatrix& b) {
  double worst = 0;
  for (size_t i = 0; i < a.values.size(); ++i) worst = std::max(worst, std::abs(a.values[i] - b.values[i]));
  return worst;
}

}  // namespace

TEST(BytePanels, shortNumbersOfEveryShapeAreExact) {
  for (const auto& [rows, others, cols] : {std::array<int64_t, 3>{16, 16, 64}, {16, 5, 13}, {37, 64, 200}, {128, 3, 256}, {1, 1, 1}}) {
    const Matrix f = shortNumbers(rows, cols, 1), d = shortNumbers(others, cols, 2);
    BytePanels one(rows), other(rows), directions(others);
    one.pack(f), other.packTransposed(turned(f)), directions.pack(d);
    for (const BytePanels* panels : {&one, &other}) {
      DoubleMatrix gram(rows, rows), cross(others, rows);
      addGram(*panels, gram);
      mirrorBelow(gram);
      addCross(directions, *panels, cross);
      const DoubleMatrix expectedGram = naiveProduct(f, f), expectedCross = naiveProduct(d, f);
      EXPECT_LE(largestDifference(gram, expectedGram), 1e-15 * expectedGram(0, 0)) << rows << " x " << cols;
      EXPECT_LE(largestDifference(cross, expectedCross), 1e-15 * expectedGram(0, 0)) << rows << " x " << cols;
      std::vector<double> sums(static_cast<size_t>(rows), 1.0);
      panels->addRowSums(sums.data());
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 1;
        for (int64_t c = 0; c < cols; ++c) sum += double(f(r, c));
        EXPECT_NEAR(sums[static_cast<size_t>(r)], sum, 1e-13);
      }
    }
  }
}

TEST(BytePanels, longNumbersAreOffByPartsOfTheLargestOfTheirRow) {
  std::mt19937 engine(3);
  std::normal_distribution<float> normal;
  Matrix f(24, 256);
  for (int64_t i = 0; i < f.size(); ++i) f.data()[i] = normal(engine) * std::exp(3 * normal(engine));
  for (int64_t c = 0; c < f.cols(); ++c) f(3, c) *= 1e-30F, f(5, c) *= 1e30F, f(7, c) = 0;
  BytePanels panels(24);
  panels.pack(f);
  DoubleMatrix gram(24, 24);
  addGram(panels, gram);
  mirrorBelow(gram);
  const DoubleMatrix expected = naiveProduct(f, f);
  for (int64_t i = 0; i < 24; ++i) {
    for (int64_t j = 0; j < 24; ++j)
      EXPECT_LE(std::abs(gram(i, j) - expected(i, j)), 2e-9 * std::sqrt(expected(i, i) * expected(j, j))) << i << " " << j;
  }
}

TEST(BytePanels, rowsThatAreNotFiniteSpoilTheirProductsOnly) {
  Matrix f = shortNumbers(20, 70, 4);
  f(2, 69) = std::numeric_limits<float>::infinity(), f(17, 0) = std::numeric_limits<float>::quiet_NaN();
  BytePanels panels(20);
  panels.pack(f);
  DoubleMatrix gram(20, 20);
  addGram(panels, gram);
  mirrorBelow(gram);
  for (int64_t i = 0; i < 20; ++i) {
    for (int64_t j = 0; j < 20; ++j) EXPECT_EQ(std::isfinite(gram(i, j)), i != 2 && i != 17 && j != 2 && j != 17) << i << " " << j;
  }
}

TEST(HeadGrams, ofStoredHalvesAgainstLoopsInDouble) {
  for (const auto family : {SyntheticCheckpoint::Family::Llama, SyntheticCheckpoint::Family::Gpt2}) {
    SyntheticCheckpoint plan;
    plan.family = family, plan.layers = 1, plan.width = 300, plan.heads = 5, plan.kvHeads = 5, plan.headWidth = 60;
    plan.dtype = DType::BF16;
    const TemporaryFolder folder;
    plan.write(folder.path());
    const auto model = Model::open(folder.path());
    const AttentionWeights a = model->attention(0);
    const Matrix directions = shortNumbers(9, plan.width, 5);
    for (const bool isCentred : {false, true}) {
      for (const HeadMap& map :
           {HeadMap{&a.query, false, 5, 60, nullptr, nullptr, isCentred}, {&a.output, true, 5, 60, nullptr, nullptr, isCentred}}) {
        const HeadGrams grams = headGrams(map, Job(), &directions);
        for (int64_t h = 0; h < 5; ++h) {
          const Matrix rows = headRows(map, h);
          const DoubleMatrix gram = naiveProduct(rows, rows), cross = naiveProduct(directions, rows);
          EXPECT_LE(largestDifference(grams.gram[static_cast<size_t>(h)], gram), (isCentred ? 1e-6 : 1e-14) * gram(0, 0)) << h;
          EXPECT_LE(largestDifference(grams.cross[static_cast<size_t>(h)], cross), (isCentred ? 1e-6 : 1e-14) * gram(0, 0)) << h;
        }
      }
    }
  }
}
