// GPT-2 small's shapes at 512 tokens: the whole pass with the scores that need no sorting, without and with the unembedding.
#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "core/bench/benches.h"
#include "core/bench/eager_backend.h"
#include "core/bench/random_model.h"

namespace headscope::core {
namespace {

constexpr int64_t kTokens = 512;
constexpr double kReferenceGflops = 219;  // of the machine on which the limits were set

double blockOperations(const ModelSpec& spec) {
  const double n = kTokens, d = static_cast<double>(spec.width), layers = static_cast<double>(spec.layers);
  return layers * (2 * n * d * d * 12 + n * n * d * 2);  // projections and MLP; causal halves of both attention products
}

double unembeddingOperations(const ModelSpec& spec) { return 2.0 * kTokens * static_cast<double>(spec.width * spec.vocabulary); }

constexpr int kRuns = 9;  // others use the machine too, and the rate that the limit is scaled by is a best one as well

/// Runs `work` once for its memory, then times it.
template <class Work>
double timed(const Work& work, double& extraBytes) {
  {
    const PeakMemory memory;
    work();
    extraBytes = memory.peakBytes();
  }
  return quickest(kRuns, work);
}

}  // namespace

std::vector<BenchResult> benchForward(BenchContext& context) {
  const auto model = randomGpt2Small(context.scratch / "gpt2_small");
  const auto prompt = randomPrompt(model->spec(), kTokens);
  std::vector<BenchResult> results;
  for (const bool withLogits : {false, true}) {
    const auto ours = [&] {
      Job job;
      const auto trace = runForward(model, prompt, context.backend, {}, job);
      headScores(*trace, false, job);
      if (withLogits) trace->loss(job);
    };
    const auto naive = [&] {
      Job job;
      const auto eager = std::make_shared<EagerBackend>();
      const auto trace = runForward(model, prompt, eager, {}, job);
      if (withLogits) trace->logits(0, kTokens, job);
    };
    BenchResult result;
    result.bench = withLogits ? "forward_gpt2_small_512_logits" : "forward_gpt2_small_512";
    double extra = 0, naiveExtra = 0;
    result.ours = timed(ours, extra);
    result.naive = timed(naive, naiveExtra);
    const double operations = blockOperations(model->spec()) + (withLogits ? unembeddingOperations(model->spec()) : 0.0);
    result.floor = operations / (context.sgemmGflops * 1e9);
    result.limit = (withLogits ? 0.8 : 0.6) * kReferenceGflops / context.sgemmGflops;
    // On a busy machine: processor seconds against what the products alone would take of them
    const double thrift = thriftiest(3, ours);
    result.more = {{"ours_processor_s", thrift},
                   {"share_of_sgemm", operations / 1e9 / context.sgemmPerProcessorSecond / thrift},
                   {"extra_mb", extra / 1e6},
                   {"naive_extra_mb", naiveExtra / 1e6},
                   {"extra_limit_mb", 150}};
    results.push_back(result);
  }
  return results;
}

}  // namespace headscope::core
