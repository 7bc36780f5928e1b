// What issue-sized claims about mechanisms rest on: masks against their share of the pairs, linear growth, twelve at once, and
// each mechanism beside the naive dense way, which fills an N x N matrix.
#include <cmath>

#include "core/bench/benches.h"
#include "core/mechanisms/comparison.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/registry.h"

namespace headscope::core {
namespace {

constexpr int64_t kWidth = 64;

struct BenchHead {
  Matrix query, key, value, normed, projection;
  RopeSpec rope;
  HeadInput input;
  BenchHead(const BenchHead&) = delete;  // the input points in here
  explicit BenchHead(int64_t n) {
    Random random(1);
    const auto fill = [&](int64_t rows, double size) {
      Matrix m(rows, kWidth);
      for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<float>(size * random.normal());
      return m;
    };
    query = fill(n, 1.5);
    key = fill(n, 1.5);
    value = fill(n, 1.0);
    normed = fill(n, 1.0);
    projection = fill(kWidth, 0.125);
    input.query = query;
    input.key = key;
    input.value = value;
    input.normedInput = normed;
    input.queryWeight = input.keyWeight = input.valueWeight = projection;
    rope.dims = kWidth;
    for (int64_t i = 0; i < kWidth / 2; ++i)
      rope.frequencies.push_back(std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(kWidth)));
    input.rope = &rope;
    input.layer = 1, input.heads = 8;
    input.keyValueOf = [this](int64_t) { return KeyValue{key, value}; };
    input.scale = 1.0 / std::sqrt(static_cast<double>(kWidth));
  }
};

/// Wall seconds of the output; processor seconds, which other programs on the machine do not change, where asked for, and those of
/// binding: what is made once a head.
double secondsOf(const std::string& word, const BenchHead& head, Cost* cost = nullptr, double* cpuSeconds = nullptr,
                 double* bindCpuSeconds = nullptr) {
  Job job;
  Matrix out(head.input.count(), kWidth);
  const auto mechanism = parseMechanism(word);
  std::unique_ptr<HeadRun> run;
  const double bound = thriftiest(1, [&] { run = mechanism->bind(head.input, job); });
  if (bindCpuSeconds != nullptr) *bindCpuSeconds = bound;
  const double seconds = quickest(5, [&] { run->output(out.view(), job); });
  if (cost != nullptr) *cost = run->cost();
  if (cpuSeconds != nullptr) *cpuSeconds = thriftiest(5, [&] { run->output(out.view(), job); });
  return seconds;
}

/// All N x N scores at once, hidden ones too, then their softmax, then the product with V.
double naiveDenseSeconds(const BenchHead& head, double* cpuSeconds) {
  const int64_t n = head.input.count();
  Matrix scores(n, n), out(n, kWidth);
  Work work;
  const auto dense = [&] {
    productByTransposed(head.input.query, head.input.key, scores.view(), static_cast<float>(head.input.scale), 0.0f, work);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = i + 1; j < n; ++j) scores(i, j) = -INFINITY;
    }
    softmaxInPlace(scores.view(), work);
    product(scores, head.input.value, out.view(), 1.0f, 0.0f, work);
  };
  *cpuSeconds = thriftiest(3, dense);
  return quickest(3, dense);
}

}  // namespace

std::vector<BenchResult> benchMechanisms(BenchContext&) {
  std::vector<BenchResult> results;
  const BenchHead head(2048);
  double naiveCpu = 0;
  const double naive = naiveDenseSeconds(head, &naiveCpu);
  for (const char* word : {"causal",
                           "local:window=256",
                           "symmetric:window=256",
                           "strided:stride=16",
                           "fixed:stride=64,summary=4",
                           "dilated:window=64,step=8",
                           "sinks",
                           "global",
                           "block",
                           "source_local",
                           "source_strided",
                           "topk",
                           "topp",
                           "clustered",
                           "linear",
                           "rfa",
                           "performer",
                           "linformer",
                           "linformer:projection=gaussian",
                           "linformer:projection=svd",
                           "nystrom",
                           "nystrom:inverse=exact",
                           "dense_attention:order=linear",
                           "dense_attention:order=quadratic",
                           "shared_kv",
                           "reuse",
                           "rope:base=500000",
                           "alibi",
                           "nope",
                           "off"}) {  // all but CoPE, which has no output without its trained table
    Cost cost;
    BenchResult result;
    result.bench = std::string("mechanisms/") + word;
    result.ours = secondsOf(word, head, &cost, &result.more["cpu_s"], &result.more["bind_cpu_s"]);
    result.more["naive_cpu_s"] = naiveCpu;
    result.naive = naive;
    result.more["operations"] = cost.operations;
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<BenchResult> benchWindowShare(BenchContext&) {
  const int64_t n = 8192, w = 512;
  const BenchHead head(n);
  const double dense = secondsOf("causal", head),
               share = (static_cast<double>(n * w) - w * (w - 1) / 2.0) / (static_cast<double>(n) * (n + 1) / 2.0);
  BenchResult result;
  result.bench = "window_share";
  result.ours = secondsOf("local:window=512", head);
  result.naive = dense;
  result.limit = 1.5 * share * dense;
  result.more["pair_share"] = share;
  return {result};
}

std::vector<BenchResult> benchLinearGrowth(BenchContext&) {
  std::vector<BenchResult> results;
  for (const int64_t n : {2048, 4096, 8192, 16384, 32768}) {
    const BenchHead head(n);
    Cost cost;
    BenchResult result;
    result.bench = "linear_growth/" + std::to_string(n);
    result.ours = secondsOf("linear", head, &cost);
    result.more["held_bytes"] = cost.bytesHeld;
    result.more["ns_a_token"] = 1e9 * result.ours / static_cast<double>(n);
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<BenchResult> benchTwelveMechanisms(BenchContext&) {
  const BenchHead head(512);
  const auto mechanisms = parseMechanisms("local;strided;fixed;sinks;topk;topp;linear;rfa;performer;linformer;nystrom;clustered");
  Job job;
  BenchResult result;
  result.bench = "twelve_mechanisms";
  result.ours = quickest(5, [&] { compareMechanisms(head.input, head.projection, mechanisms, {}, job); });
  result.more["cpu_s"] = thriftiest(3, [&] { compareMechanisms(head.input, head.projection, mechanisms, {}, job); });
  result.limit = 0.3;
  return {result};
}

}  // namespace headscope::core
