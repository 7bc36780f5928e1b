// The naive way that benches time gives the same numbers, so that the comparison is of like with like.
#include "core/bench/eager_backend.h"

#include <gtest/gtest.h>

#include "core/attention/forward.h"
#include "core/bench/bench.h"
#include "core/bench/random_model.h"
#include "tests/support/program.h"

using namespace headscope::core;

TEST(EagerBackend, sameNumbersAsTheReference) {
  const headscope::tests::TemporaryFolder folder;
  const auto model = randomTales(folder.path());
  const auto prompt = randomPrompt(model->spec(), 40);
  Job job;
  const auto eager = std::make_shared<EagerBackend>();
  const auto ours = runForward(model, prompt, openBackend("cpu"), {}, job), naive = runForward(model, prompt, eager, {}, job);
  const ConstMatrixView a = ours->hidden(4), b = naive->hidden(4);
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) ASSERT_NEAR(a(r, c), b(r, c), 1e-4);
  }
  EXPECT_EQ(eager->maps().size(), 32u);
}

TEST(BenchTools, sayWhatTheyMeasure) {
  EXPECT_NE(machineName(), "");
  EXPECT_GE(quickest(2, [] {}), 0.0);
  const PeakMemory memory;
  const Matrix touched = Matrix::zeros(2048, 2048);  // 16 MB
  EXPECT_GE(memory.peakBytes(), 0.9 * static_cast<double>(touched.size()) * sizeof(float));
}
