#include "core/weights/prompt_words.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/base/job.h"
#include "tests/core/weights/golden_weights.h"
#include "tests/support/golden_run.h"

using namespace headscope::core;
using namespace headscope::tests;

// Along all singular directions, sum (sigma x.u)^2 is ||x W||^2 of the whole matrix, taken here factor by factor in double.
TEST(PromptWords, allDirectionsTogetherAreTheWholeMatrix) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"gpt2", "llama3_gqa"}) {
    const auto model = goldenModel(name);
    Job job;
    const auto trace =
        runForward(model, goldenPrompt(*openGolden(goldenFolder() / "models" / name), model->spec()), openBackend("cpu"), {}, job);
    const HeadRef head{1, model->spec().heads - 1};
    for (const Circuit circuit : {Circuit::QK, Circuit::OV}) {
      const HeadWeights weights = headWeights(*model, head.layer, defaultFold(model->spec()));
      const HeadFactors f = residualFactors(weights, head.head, circuit);
      const auto words = headWords(*model, head, circuit, model->spec().headWidth, 1, job);
      const auto found = promptProjections(*trace, head, circuit, model->spec().headWidth, job);
      ASSERT_EQ(found.size(), words.directions.size());
      EXPECT_EQ(found[0].matched.empty(), circuit == Circuit::OV);
      const ConstMatrixView stream = trace->hidden(head.layer);
      for (int64_t i = 0; i < stream.rows; ++i) {
        const int64_t d = stream.cols;
        double mean = 0, square = 0;
        for (int64_t c = 0; c < d; ++c) mean += model->spec().norm == NormKind::LayerNorm ? stream(i, c) / static_cast<double>(d) : 0;
        for (int64_t c = 0; c < d; ++c) square += (stream(i, c) - mean) * (stream(i, c) - mean) / static_cast<double>(d);
        std::vector<double> inner(static_cast<size_t>(f.left.rows())), written(static_cast<size_t>(d));
        for (int64_t k = 0; k < f.left.rows(); ++k) {
          for (int64_t c = 0; c < d; ++c)
            inner[static_cast<size_t>(k)] += (stream(i, c) - mean) / std::sqrt(square + model->spec().normEps) * f.left(k, c);
          for (int64_t c = 0; c < d; ++c) written[static_cast<size_t>(c)] += inner[static_cast<size_t>(k)] * f.right(k, c);
        }
        double whole = 0, sum = 0;
        for (const double v : written) whole += v * v;
        for (size_t s = 0; s < found.size(); ++s) {
          const double part = words.directions[s].sigma * found[s].read[static_cast<size_t>(i)];
          sum += part * part;
        }
        EXPECT_NEAR(sum, whole, 1e-4 * whole) << name << " token " << i;
      }
    }
    EXPECT_THROW(promptProjections(*trace, {99, 0}, Circuit::OV, 1, job), Error);
  }
}
