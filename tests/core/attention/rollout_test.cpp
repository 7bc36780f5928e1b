// Attention rollout against the product of whole matrices in double.
#include "core/attention/rollout.h"

#include <gtest/gtest.h>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/checkpoint/checkpoint.h"
#include "core/image/image_processor.h"
#include "tests/support/golden.h"

using namespace headscope::core;
using namespace headscope::tests;

namespace {

std::shared_ptr<const Trace> goldenTrace(const std::string& name) {
  const auto model = Model::open(goldenFolder() / "models" / name);
  std::shared_ptr<Prompt> prompt;
  if (model->spec().image) {
    const ImageSpec& image = *model->spec().image;
    const auto file = SafetensorsFile::open(goldenFolder() / "models" / name / "golden.safetensors");
    const TensorInfo* info = file->find("pixel_values");
    Matrix pixels(image.channels, image.height * image.width);
    decodeToFloat(info->dtype, info->data, pixels.size(), pixels.data());
    prompt = promptFromPixels(image, std::move(pixels));
  } else {
    prompt = std::make_shared<Prompt>();
    for (int32_t i = 0; i < 37; ++i) {
      Token token;
      token.id = i * 7 % 50;
      prompt->tokens.push_back(token);
    }
  }
  Job job;
  return runForward(model, prompt, openBackend("cpu"), {}, job);
}

/// R_l = S_l R_{l-1}, all of it, [N * N].
std::vector<double> naiveRollout(const std::shared_ptr<const Trace>& trace, int64_t layers) {
  const auto n = static_cast<size_t>(trace->count());
  std::vector<double> all(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) all[i * n + i] = 1;
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::vector<double> next(n * n, 0.0);
    for (size_t i = 0; i < n; ++i) {
      std::vector<double> row(n, 0.0);
      for (int64_t head = 0; head < trace->spec().heads; ++head) {
        const std::vector<float> weights = AttentionMap(trace, {layer, head}).row(static_cast<int64_t>(i));
        for (size_t j = 0; j < n; ++j) row[j] += weights[j] / static_cast<double>(trace->spec().heads);
      }
      double sum = 0;
      for (size_t j = 0; j < n; ++j) row[j] = 0.5 * row[j] + (i == j ? 0.5 : 0.0), sum += row[j];
      for (size_t j = 0; j < n; ++j) {
        for (size_t k = 0; k < n; ++k) next[i * n + k] += row[j] / sum * all[j * n + k];
      }
    }
    all = next;
  }
  return all;
}

}  // namespace

TEST(Rollout, equalsTheProductOfWholeMatrices) {
  HEADSCOPE_REQUIRE_GOLDEN();
  for (const char* name : {"vit", "llama3_gqa", "bert"}) {
    const auto trace = goldenTrace(name);
    const int64_t n = trace->count();
    for (const int64_t query : {int64_t{0}, n / 2, n - 1}) {
      Job job;
      const Matrix rollout = attentionRollout(trace, query, job);
      ASSERT_EQ(rollout.rows(), trace->layersRun());
      ASSERT_EQ(rollout.cols(), n);
      for (int64_t layer = 0; layer < rollout.rows(); ++layer) {
        const std::vector<double> expected = naiveRollout(trace, layer + 1);
        double sum = 0;
        for (int64_t j = 0; j < n; ++j) {
          EXPECT_NEAR(rollout(layer, j), expected[static_cast<size_t>(query * n + j)], 1e-6) << name << " layer " << layer << " key " << j;
          sum += rollout(layer, j);
        }
        EXPECT_NEAR(sum, 1.0, 1e-5);
      }
    }
  }
}

TEST(Rollout, isCancelled) {
  HEADSCOPE_REQUIRE_GOLDEN();
  Job job;
  const auto trace = goldenTrace("vit");
  job.cancel();
  EXPECT_THROW(attentionRollout(trace, 0, job), Cancelled);
}
