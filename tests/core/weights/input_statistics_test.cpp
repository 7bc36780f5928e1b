#include "core/weights/input_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "core/weights/spectra.h"
#include "core/weights/words.h"
#include "tests/core/weights/golden_weights.h"
#include "tests/support/golden_run.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

struct GoldenRun {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const Trace> trace;
  DoubleMatrix inputs;  // [N, d] of layer 1, as the program's own forward pass hands them to a replaced head
};

GoldenRun runGolden(const std::string& name) {
  GoldenRun run;
  run.model = goldenModel(name);
  Job job;
  ForwardOptions options;
  options.replacedHeads = {{1, 0}};
  options.replacement = [&](HeadRef, ConstMatrixView, ConstMatrixView, ConstMatrixView, ConstMatrixView x, MatrixView out) {
    run.inputs = DoubleMatrix::from(x);
    for (int64_t r = 0; r < out.rows; ++r) std::fill_n(out.row(r), out.cols, 0.0F);
  };
  const auto prompt = goldenPrompt(*openGolden(goldenFolder() / "models" / name), run.model->spec());
  run.trace = runForward(run.model, prompt, openBackend("cpu"), options, job);
  return run;
}

/// X [N, d] less its mean, over sqrt(N): C^T C is the covariance.
DoubleMatrix centred(const DoubleMatrix& x, std::vector<double>& mean) {
  DoubleMatrix c = x;
  mean.assign(static_cast<size_t>(x.cols), 0.0);
  for (int64_t j = 0; j < x.cols; ++j) {
    for (int64_t i = 0; i < x.rows; ++i) mean[size_t(j)] += x(i, j) / double(x.rows);
    for (int64_t i = 0; i < x.rows; ++i) c(i, j) = (x(i, j) - mean[size_t(j)]) / std::sqrt(double(x.rows));
  }
  return c;
}

}  // namespace

TEST(InputStatistics, weightedSpectraAndBiasShareAgainstTheInputsThemselves) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa", "bert", "deepseek_v3"}) {
    const GoldenRun run = runGolden(name);
    InputStatistics statistics(*run.model);
    Job job;
    statistics.add(*run.trace, job);
    EXPECT_EQ(statistics.tokens(), run.trace->count());
    std::vector<double> mean;
    const DoubleMatrix c = centred(run.inputs, mean);
    const LayerInput input = statistics.layer(1);
    for (size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(input.mean[i], mean[i], 1e-4) << name;

    SpectraOptions options;
    options.fold = Fold::Off;
    std::vector<BiasShare> shares;
    const LayerSpectra spectra = weightedLayerSpectra(*run.model, 1, options, input, job, &shares);
    const HeadWeights w = headWeights(*run.model, 1, Fold::Off);
    for (int64_t h = 0; h < w.heads; ++h) {
      // C W_QK C^T has the singular values of Sigma^(1/2) W_QK Sigma^(1/2).
      const HeadFactors qk = residualFactors(w, h, Circuit::QK), ov = residualFactors(w, h, Circuit::OV);
      const auto through = [&](const Matrix& factor) { return multiplyTransposed(c, DoubleMatrix::from(factor)); };  // [N, k]
      const auto expected = singularValues(multiplyTransposed(through(qk.left), through(qk.right)));
      const auto& sigma = spectra.find("W_QK")->heads[size_t(h)].sigma;
      for (size_t i = 0; i < std::min(sigma.size(), expected.size()); ++i) EXPECT_NEAR(sigma[i], expected[i], 2e-4 * expected[0]) << name;
      const auto reading = singularValues(multiply(through(ov.left), DoubleMatrix::from(ov.right)));
      const auto& written = spectra.find("W_OV")->heads[size_t(h)].sigma;
      for (size_t i = 0; i < std::min(written.size(), reading.size()); ++i) EXPECT_NEAR(written[i], reading[i], 2e-4 * reading[0]) << name;
      const DoubleMatrix v = multiply(multiplyTransposed(run.inputs, DoubleMatrix::from(ov.left)), DoubleMatrix::from(ov.right));
      double all = innerProduct(v, v) / double(v.rows), fixed = 0;
      for (int64_t j = 0; j < v.cols; ++j) {
        double m = 0;
        for (int64_t i = 0; i < v.rows; ++i) m += v(i, j) / double(v.rows);
        fixed += m * m;
      }
      ASSERT_EQ(shares.back().matrix, "W_OV");
      EXPECT_NEAR(shares.back().heads[size_t(h)], fixed / all, 1e-3) << name;
    }
  }
}

// Few tokens: the rows themselves; many: their squares. Both are the covariance of the one layer.
TEST(InputStatistics, oneLayerOfOnePrompt) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "deepseek_v3"}) {
    const GoldenRun run = runGolden(name);
    Job job;
    InputStatistics all(*run.model), one(*run.model, uint64_t{8} << 30, {1});
    all.add(*run.trace, job), one.add(*run.trace, job);
    const LayerInput expected = all.layer(1), chosen = one.layer(1);
    EXPECT_EQ(chosen.mean, expected.mean);
    EXPECT_EQ(chosen.triangle->values, expected.triangle->values);
    EXPECT_THROW(one.layer(0), Error);

    auto few = std::make_shared<Prompt>();
    few->tokens.assign(run.trace->prompt().tokens.begin(), run.trace->prompt().tokens.begin() + 9);
    const auto shortTrace = runForward(run.model, few, openBackend("cpu"), {}, job);
    for (const auto& trace : {run.trace, shortTrace}) {
      InputStatistics sums(*run.model);
      sums.add(*trace, job);
      const LayerInput summed = sums.layer(1), direct = layerInput(*trace, 1, job);
      const DoubleMatrix a = transposedMultiply(*summed.triangle, *summed.triangle),
                         b = transposedMultiply(*direct.triangle, *direct.triangle);
      for (size_t i = 0; i < a.values.size(); ++i) ASSERT_NEAR(a.values[i], b.values[i], 1e-9) << name;
      for (size_t i = 0; i < summed.mean.size(); ++i) EXPECT_NEAR(direct.mean[i], summed.mean[i], 1e-12);
      SpectraOptions options;
      options.fold = Fold::Off, options.matrices = {"W_QK"};
      std::vector<BiasShare> shares, same;
      const LayerSpectra s = weightedLayerSpectra(*run.model, 1, options, summed, job, &shares),
                         d = weightedLayerSpectra(*run.model, 1, options, direct, job, &same);
      ASSERT_EQ(same.size(), 1U);
      for (size_t h = 0; h < same[0].heads.size(); ++h) {
        EXPECT_NEAR(same[0].heads[h], shares[0].heads[h], 1e-9);
        const auto &x = s.find("W_QK")->heads[h].sigma, &y = d.find("W_QK")->heads[h].sigma;
        ASSERT_EQ(x.size(), y.size());
        for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-6 * x[0]) << name;
      }
    }
    EXPECT_THROW(layerInput(*shortTrace, 99, job), Error);
  }
}

TEST(InputStatistics, foldedWeightsAreRefusedAndOneTokenIsTooFew) {
  HEADSCOPE_REQUIRE_GOLDEN();
  const auto model = goldenModel("gpt2");
  InputStatistics statistics(*model);
  EXPECT_THROW(statistics.layer(0), Error);
  EXPECT_THROW(InputStatistics(*model, 1000), Error);
  EXPECT_THROW(weightedLayerSpectra(*model, 0, {}, LayerInput{}, Job()), Error);
}
