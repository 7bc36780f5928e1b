#include "core/weights/subspace.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/words.h"
#include "tests/core/weights/golden_weights.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

/// W_O of `heads` heads; heads 0 and 1 write into one space of `k` dimensions, and head 2 is zero.
HeadWeights plantedWeights(int64_t heads, int64_t k, int64_t d) {
  HeadWeights w;
  w.heads = w.kvHeads = heads, w.keyWidth = w.valueWidth = k;
  w.output = Matrix(heads * k, d);
  uint64_t state = 1;
  for (int64_t i = 0; i < w.output.size(); ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    w.output.data()[i] = static_cast<float>(state >> 40) * 0x1p-24F - 0.5F;
  }
  for (int64_t r = 0; r < k; ++r) {
    for (int64_t c = 0; c < d; ++c) {
      w.output(k + r, c) = 3 * w.output(r, c);
      w.output(2 * k + r, c) = 0;
    }
  }
  return w;
}

}  // namespace

TEST(Subspace, aPairThatSharesItsSpaceAndAZeroHead) {
  for (const int64_t d : {64, 20}) {  // wider and narrower than the stack of 5 * 6 rows
    const HeadWeights w = plantedWeights(5, 6, d);
    const SharedSubspace s = sharedSubspace(w, SubspaceSide::Output, Job());
    EXPECT_EQ(s.fullRank(), std::min<int64_t>(30, d));
    const auto errors = s.errors(), stored = s.storedErrors();
    EXPECT_DOUBLE_EQ(errors[0], 1.0);
    if (d == 64) {
      EXPECT_LE(errors[18], 1e-6);  // 4 heads with weights, two of them in one space
      EXPECT_GT(errors[17], 1e-3);
    }
    for (size_t i = 1; i < errors.size(); ++i) EXPECT_LE(errors[i], errors[i - 1] + 1e-12);
    EXPECT_LE(stored.back(), 1e-6);
    ASSERT_EQ(s.notes.size(), 1U);
    EXPECT_NE(s.notes[0].find("head 2"), std::string::npos);
    EXPECT_NEAR(s.breakEven(), 30.0 * double(d) / double(30 + d), 1e-9);
    EXPECT_NEAR(s.parametersSaved(0), 1.0, 1e-12);
  }
}

TEST(Subspace, errorsAgainstDenseTruncation) {
  const HeadWeights w = plantedWeights(4, 5, 33);
  const SharedSubspace s = sharedSubspace(w, SubspaceSide::Output, Job());
  DoubleMatrix stack = DoubleMatrix::from(w.output), stored = stack;
  for (int64_t h = 0; h < 4; ++h) {
    const double s1 = singularValues(DoubleMatrix::from(w.outputOf(h)))[0];
    for (int64_t i = h * 5 * 33; i < (h + 1) * 5 * 33; ++i) stack.values[size_t(i)] *= s1 > 0 ? 1 / s1 : 0;
  }
  const SmallSvd svd = smallSvd(stack);
  for (const int64_t rank : {1, 4, 9}) {
    DoubleMatrix v(rank, 33);
    std::copy_n(svd.right.data(), v.values.size(), v.data());
    const auto error = [&](const DoubleMatrix& m, int64_t first, int64_t count) {
      DoubleMatrix part(count, 33);
      std::copy_n(m.row(first), part.values.size(), part.data());
      const DoubleMatrix on = multiplyTransposed(part, v);
      const double all = innerProduct(part, part);
      return all > 0 ? std::sqrt(std::max(0.0, 1 - innerProduct(on, on) / all)) : 0.0;
    };
    EXPECT_NEAR(s.errors()[size_t(rank)], error(stack, 0, 20), 1e-6);
    EXPECT_NEAR(s.storedErrors()[size_t(rank)], error(stored, 0, 20), 1e-6);
    EXPECT_NEAR(s.headError(3, rank), error(stored, 15, 5), 1e-6);
  }
}

TEST(Subspace, energiesOfMoreHeadsAndDirectionsThanOneProductTakes) {
  const int64_t heads = 9, k = 70, d = 530;
  const HeadWeights w = plantedWeights(heads, k, d);
  double last = 0;
  const SharedSubspace s = sharedSubspace(w, SubspaceSide::Output, Job(), [&](double done) {
    EXPECT_GE(done, last);
    EXPECT_LE(last = done, 1.0);
  });
  EXPECT_GT(last, 0.5);
  ASSERT_EQ(s.fullRank(), d);
  double all = 0;
  for (int64_t h = 0; h < heads; ++h) {
    double sum = 0;
    for (const double e : s.headEnergy[size_t(h)]) sum += e;
    const double norm = frobeniusNorm(w.outputOf(h)), s1 = norm > 0 ? singularValues(DoubleMatrix::from(w.outputOf(h)))[0] : 1;
    EXPECT_NEAR(sum, norm * norm / s1 / s1, 1e-5 * sum) << h;
    all += sum;
  }
  for (const int64_t i : {0, 300, 512, 529}) {  // the same, direction by direction
    double sum = 0;
    for (int64_t h = 0; h < heads; ++h) sum += s.headEnergy[size_t(h)][size_t(i)];
    EXPECT_NEAR(sum, s.sigma[size_t(i)] * s.sigma[size_t(i)], 1e-6 * all) << i;
  }
}

TEST(Subspace, breakEvenOfPublishedSizes) {
  SharedSubspace s;
  s.stackRows = 128 * 128, s.width = 7168;
  EXPECT_EQ(std::llround(s.breakEven()), 4986);  // DeepSeek-V3
  s.stackRows = 64 * 128;
  EXPECT_EQ(std::llround(s.breakEven()), 3823);  // Kimi-K2
}

TEST(Words, topItemsAgainstDenseScores) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa", "deepseek_v3"}) {
    const auto model = goldenModel(name);
    const HeadWords words = headWords(*model, {1, 2}, Circuit::OV, 3, 10, Job());
    ASSERT_EQ(words.directions.size(), 3U) << name;
    const HeadWeights w = headWeights(*model, 1, Fold::On);
    const HeadFactors f = residualFactors(w, 2, Circuit::OV);
    const SmallSvd svd = smallSvd(transposedMultiply(DoubleMatrix::from(f.left), DoubleMatrix::from(f.right)));  // left rows: u
    const Matrix embedding = model->embedding().tokens.decode();
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(words.directions[i].sigma, svd.sigma[i], 1e-5 * svd.sigma[0]);
      const WordScore best = words.directions[i].readPositive.front(), worst = words.directions[i].readNegative.front();
      double sum = 0, most = 0, least = 0;
      for (int64_t c = 0; c < embedding.cols(); ++c) sum += embedding(best.id, c) * svd.left(int64_t(i), c);
      EXPECT_NEAR(std::abs(sum), std::abs(best.score), 1e-4) << name;
      for (int64_t t = 0; t < embedding.rows(); ++t) {
        double score = 0;
        for (int64_t c = 0; c < embedding.cols(); ++c) score += embedding(t, c) * svd.left(int64_t(i), c);
        most = std::max(most, score), least = std::min(least, score);
      }
      EXPECT_NEAR(std::max(best.score, -worst.score), std::max(most, -least), 1e-4) << name;
      EXPECT_EQ(words.directions[i].writePositive.size(), 10U);
    }
  }
}

TEST(Words, residualFactorsOfLatentHeadsHaveTheGoldenSpectrum) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("deepseek_v3");
  const GoldenTensors golden = goldenTensors(goldenFolder() / "models/deepseek_v3/spectra.safetensors");
  const HeadWeights w = headWeights(*model, 1, Fold::On);
  for (const auto& [circuit, name] : {std::pair{Circuit::QK, "W_QK.on.1"}, std::pair{Circuit::OV, "W_OV.on.1"}}) {
    const HeadFactors f = residualFactors(w, 3, circuit);
    const Spectrum s = FactoredMatrix(f.left, f.right).spectrum();
    const GoldenTensor& t = golden.at(name);
    for (int64_t i = 0; i < t.shape[1]; ++i) EXPECT_NEAR(s.sigma[size_t(i)], t.values[size_t(3 * t.shape[1] + i)], 1e-5 * s.largest());
  }
}

TEST(Words, imagesHaveNoVocabulary) {
  HEADSCOPE_REQUIRE_GOLDEN();
  EXPECT_THROW(headWords(*goldenModel("vit"), {0, 0}, Circuit::OV, 1, 1, Job()), Error);
}
