// Maps from a trace: one head's overview at 8,192 tokens, and all heads of a grid at 512.
#include <cmath>
#include <vector>

#include "core/attention/attention_map.h"
#include "core/attention/forward.h"
#include "core/bench/benches.h"
#include "core/bench/random_model.h"

namespace headscope::core {
namespace {

/// One head's whole map, entry by entry, softmaxed and kept: what a program does that has no tiles.
void wholeMap(const Trace& trace, HeadRef head) {
  const ConstMatrixView q = trace.query(head.layer, head.head), k = trace.key(head.layer, trace.rule(head.layer).kvHeadOf(head.head));
  const float scale = static_cast<float>(trace.rule(head.layer).scale);
  Matrix map = Matrix::zeros(q.rows, q.rows);
  for (int64_t i = 0; i < q.rows; ++i) {
    float max = -INFINITY, sum = 0;
    for (int64_t j = 0; j <= i; ++j) {
      float s = 0;
      for (int64_t c = 0; c < q.cols; ++c) s += q(i, c) * k(j, c);
      map(i, j) = s * scale;
      max = std::max(max, map(i, j));
    }
    for (int64_t j = 0; j <= i; ++j) sum += map(i, j) = std::exp(map(i, j) - max);
    for (int64_t j = 0; j <= i; ++j) map(i, j) /= sum;
  }
}

}  // namespace

std::vector<BenchResult> benchMapOverview(BenchContext& context) {
  constexpr int64_t kTokens = 8192, kLevel = 3;  // 1,024 cells a side
  const auto model = randomTales(context.scratch / "tales_shape");
  Job job;
  ForwardOptions options;
  options.layers = 1;
  const auto trace = runForward(model, randomPrompt(model->spec(), kTokens), context.backend, options, job);
  const AttentionMap map(trace, {0, 3});
  const int64_t side = map.sizeAt(kLevel);
  BenchResult result;
  result.bench = "map_overview_8192";
  double extra = 0;
  {
    const PeakMemory memory;
    map.tile({kLevel, 0, side, 0, side, Pooling::Max}, job);
    extra = memory.peakBytes();
  }
  result.ours = quickest(5, [&] { map.tile({kLevel, 0, side, 0, side, Pooling::Max}, job); });
  result.naive = quickest(1, [&] { wholeMap(*trace, {0, 3}); });
  result.floor = static_cast<double>(kTokens * kTokens * trace->rule(0).keyWidth) / (context.sgemmGflops * 1e9);
  result.limit = 0.4;
  result.more = {{"ours_processor_s", thriftiest(3,
                                                 [&] {
                                                   map.tile({kLevel, 0, side, 0, side, Pooling::Max}, job);
                                                 })},
                 {"extra_mb", extra / 1e6},
                 {"extra_limit_mb", 100},
                 {"naive_extra_mb", kTokens * kTokens * 4 / 1e6}};
  return {result};
}

std::vector<BenchResult> benchHeadGrid(BenchContext& context) {
  constexpr int64_t kTokens = 512, kLevel = 2;  // 128 cells a side, as a grid of 144 maps shows
  const auto model = randomGpt2Small(context.scratch / "gpt2_small");
  Job job;
  const auto trace = runForward(model, randomPrompt(model->spec(), kTokens), context.backend, {}, job);
  BenchResult result;
  result.bench = "head_grid_144_512";
  const auto grid = [&](auto draw) {
    for (int64_t l = 0; l < trace->layersRun(); ++l) {
      for (int64_t h = 0; h < trace->spec().heads; ++h) draw(HeadRef{l, h});
    }
  };
  const auto ours = [&] {
    grid([&](HeadRef head) {
      const AttentionMap map(trace, head);
      map.tile({kLevel, 0, map.sizeAt(kLevel), 0, map.sizeAt(kLevel), Pooling::Max}, job);
    });
  };
  result.ours = quickest(3, ours);
  result.naive = quickest(1, [&] { grid([&](HeadRef head) { wholeMap(*trace, head); }); });
  result.floor = 144.0 * kTokens * kTokens * 64 / (context.sgemmGflops * 1e9);
  result.limit = 0.2;
  result.more = {{"ours_processor_s", thriftiest(3, ours)}};
  return {result};
}

}  // namespace headscope::core
