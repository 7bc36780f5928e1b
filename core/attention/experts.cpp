// Mixture of experts as DeepSeek-V2 and V3 route (their reports; transformers' modeling_deepseek_v2 and v3 for what is done with
// groups that were not chosen: their scores count as 0).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/attention/forward_parts.h"

namespace headscope::core {
namespace {

/// Indices of the `count` largest values, ties to the smaller index.
std::vector<int32_t> largest(const std::vector<float>& values, int64_t count) {
  std::vector<int32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int32_t a, int32_t b) {
    const float p = values[static_cast<size_t>(a)], q = values[static_cast<size_t>(b)];
    return p > q || (!(q > p) && a < b);
  };
  count = std::min<int64_t>(count, static_cast<int64_t>(values.size()));
  // A NaN would break the order that sorting needs; such rows go to the first experts and stay NaN through their inputs
  if (std::any_of(values.begin(), values.end(), [](float v) { return std::isnan(v); })) {
    order.resize(static_cast<size_t>(count));
    return order;
  }
  std::partial_sort(order.begin(), order.begin() + count, order.end(), before);
  order.resize(static_cast<size_t>(count));
  return order;
}

std::vector<float> scoresOf(const MoeSpec& spec, const float* logits) {
  std::vector<float> scores(logits, logits + spec.experts);
  if (spec.scoring == MoeSpec::Scoring::Sigmoid) {
    for (float& s : scores) s = 1.0f / (1.0f + std::exp(-s));
    return scores;
  }
  const float max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (float& s : scores) sum += s = std::exp(s - max);
  for (float& s : scores) s = static_cast<float>(s / sum);
  return scores;
}

float groupScore(const MoeSpec& spec, const float* scores, int64_t size) {
  std::vector<float> group(scores, scores + size);
  const int64_t kept = spec.groupScore == MoeSpec::GroupScore::SumOfTopTwo ? std::min<int64_t>(2, size) : 1;
  std::partial_sort(group.begin(), group.begin() + kept, group.end(), std::greater<>());
  return std::accumulate(group.begin(), group.begin() + kept, 0.0f);
}

/// Scores of experts outside the chosen groups become 0.
void keepBestGroups(const MoeSpec& spec, std::vector<float>& choice) {
  if (spec.groupScore == MoeSpec::GroupScore::None || spec.groups <= 1 || spec.groupsPerToken >= spec.groups) return;
  const int64_t size = spec.experts / spec.groups;
  std::vector<float> scores;
  for (int64_t g = 0; g < spec.groups; ++g) scores.push_back(groupScore(spec, choice.data() + g * size, size));
  std::vector<bool> isKept(static_cast<size_t>(spec.groups), false);
  for (const int32_t g : largest(scores, spec.groupsPerToken)) isKept[static_cast<size_t>(g)] = true;
  for (int64_t e = 0; e < spec.experts; ++e) {
    if (!isKept[static_cast<size_t>(std::min(e / size, spec.groups - 1))]) choice[static_cast<size_t>(e)] = 0.0f;
  }
}

void addTokens(const PassContext& pass, const MlpWeights& expert, const ExpertRoute& route, const Tensor& x, const Tensor& out,
               Scratch& scratch) {
  const int64_t rows = static_cast<int64_t>(route.tokens.size());
  const Tensor in = pass.backend.allocate(rows, x.cols), result = pass.backend.allocate(rows, out.cols);
  pass.backend.gatherRows(x, route.tokens, in, pass.job);
  feedForward(pass, expert, in, Into::Replace, result, scratch);
  pass.backend.scatterRows(result, route.tokens, route.weights, out, pass.job);
}

}  // namespace

std::vector<ExpertRoute> routeTokens(const MoeSpec& spec, const std::vector<float>& correctionBias, ConstMatrixView logits) {
  std::vector<ExpertRoute> routes(static_cast<size_t>(spec.experts));
  for (int64_t n = 0; n < logits.rows; ++n) {
    const std::vector<float> scores = scoresOf(spec, logits.row(n));
    std::vector<float> choice = scores;
    for (size_t e = 0; e < correctionBias.size(); ++e) choice[e] += correctionBias[e];
    keepBestGroups(spec, choice);
    const std::vector<int32_t> chosen = largest(choice, spec.expertsPerToken);
    float sum = 1e-20f;
    for (const int32_t e : chosen) sum += scores[static_cast<size_t>(e)];
    for (const int32_t e : chosen) {
      const float weight = spec.isNormalised ? scores[static_cast<size_t>(e)] / sum : scores[static_cast<size_t>(e)];
      routes[static_cast<size_t>(e)].tokens.push_back(static_cast<int32_t>(n));
      routes[static_cast<size_t>(e)].weights.push_back(weight * static_cast<float>(spec.scale));
    }
  }
  return routes;
}

void mixExperts(const PassContext& pass, const MoeWeights& weights, const Tensor& x, Into into, const Tensor& out, Scratch& scratch) {
  const Tensor logits = pass.backend.allocate(x.rows, weights.router.outputs());
  pass.backend.linear(x, weights.router, Into::Replace, logits, pass.job);
  const std::vector<ExpertRoute> routes = routeTokens(*pass.spec.moe, weights.routerBias, HostNumbers(pass.backend, logits).view());
  // x may be what is added to only when nothing reads it afterwards: the shared expert, which reads all of it, goes last
  Tensor sum = out;
  if (into == Into::Replace || x.storage == out.storage) sum = pass.backend.upload(Matrix::zeros(out.rows, out.cols));
  for (size_t e = 0; e < routes.size(); ++e) {
    if (!routes[e].tokens.empty()) addTokens(pass, weights.experts.at(e), routes[e], x, sum, scratch);
  }
  if (!weights.shared.up.empty()) feedForward(pass, weights.shared, x, Into::Add, sum, scratch);
  if (sum.storage == out.storage) return;
  if (into == Into::Replace) {
    pass.backend.copy(sum, out);
  } else {
    pass.backend.add(out, sum, pass.job);
  }
}

}  // namespace headscope::core
