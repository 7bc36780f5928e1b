// A session's replaced heads are computed by the device that runs the prompt.
#include "app/replaced_run.h"

#include <gtest/gtest.h>

#include <atomic>

#include "app/cli/inputs.h"
#include "core/attention/forward.h"
#include "core/backend/cpu/cpu_backend.h"

using namespace headscope;

namespace {

/// The CPU under a card's name; counts the heads that mechanisms hand over.
class MadeUpCard : public core::CpuBackend {
 public:
  std::string name() const override { return "made up"; }
  core::MaskedRows maskedAttention(const core::MaskedHead& head, const core::RangeList& seen, core::MatrixView out,
                                   const core::Job& job) override {
    ++heads;
    return CpuBackend::maskedAttention(head, seen, out, job);
  }
  std::atomic<int> heads{0};
};

}  // namespace

TEST(ReplacedRun, theDeviceComputesTheMechanism) {
  app::CommonFlags flags;
  const auto model = app::openModel("tales", flags);
  const auto card = std::make_shared<MadeUpCard>();
  app::PromptFlags prompt;
  prompt.prompt = "The cat sat on the mat";
  core::Job job;
  const auto run = [&](const std::shared_ptr<core::Backend>& backend) {
    return core::runForward(model, app::makePrompt(*model, prompt, flags), backend,
                            app::replacedRun(model, "local:window=3", "0.0,1.*", "a test", backend), job);
  };
  const auto here = run(std::make_shared<core::CpuBackend>());
  EXPECT_EQ(card->heads, 0);
  const auto there = run(card);
  EXPECT_EQ(card->heads, 1 + model->spec().heads);
  const core::Matrix a = here->logits(5, 1, job), b = there->logits(5, 1, job);
  for (int64_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a.data()[i], b.data()[i], 1e-5);
}
