#include "core/mechanisms/value_access.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>

#include "core/base/parallel.h"
#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/softmax_attention.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;

/// Fewest of the sorted (descending) weights whose sum reaches each share of their total.
void countNeeded(std::vector<float>& weights, const std::vector<double>& shares, std::vector<std::vector<int32_t>>& out, size_t row) {
  std::sort(weights.begin(), weights.end(), std::greater<>());
  double total = 0, sum = 0;
  for (const float w : weights) total += static_cast<double>(w);
  size_t used = 0;
  for (size_t p = 0; p < shares.size(); ++p) {  // shares ascend
    while (used < weights.size() && total > 0 && sum / total < shares[p] - 1e-12) sum += static_cast<double>(weights[used++]);
    out[p][row] = static_cast<int32_t>(std::max<size_t>(used, weights.empty() ? 0 : 1));
  }
}

}  // namespace

AccessSummary summarise(const std::vector<int32_t>& counts, bool isCausal) {
  AccessSummary out;
  out.rows = static_cast<int64_t>(counts.size());
  if (counts.empty()) return out;
  out.best = *std::min_element(counts.begin(), counts.end());
  out.worst = *std::max_element(counts.begin(), counts.end());
  for (size_t i = 0; i < counts.size(); ++i) {
    out.mean += counts[i] / static_cast<double>(counts.size());
    out.meanFraction += counts[i] / static_cast<double>(isCausal ? i + 1 : counts.size()) / static_cast<double>(counts.size());
  }
  return out;
}

AccessSummary pooled(const AccessSummary& a, const AccessSummary& b) {
  if (a.rows == 0) return b;
  if (b.rows == 0) return a;
  AccessSummary out;
  out.rows = a.rows + b.rows;
  const double share = static_cast<double>(a.rows) / static_cast<double>(out.rows);
  out.mean = share * a.mean + (1 - share) * b.mean;
  out.meanFraction = share * a.meanFraction + (1 - share) * b.meanFraction;
  out.best = std::min(a.best, b.best);
  out.worst = std::max(a.worst, b.worst);
  return out;
}

ValueAccess valueAccess(const HeadInput& input, ConstMatrixView outputWeight, std::vector<double> shares, Job& job) {
  std::sort(shares.begin(), shares.end());
  const int64_t n = input.count();
  const Visibility visibility(input);
  const SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(visibility, nullptr));
  const WrittenNorm norm(outputWeight);
  std::vector<float> written(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j)
    written[static_cast<size_t>(j)] = static_cast<float>(std::sqrt(norm.squared(input.value.row(j), input.value.cols)));
  ValueAccess out;
  out.shares = shares;
  out.sinkMass.assign(static_cast<size_t>(n), 0.0f);
  for (auto* counts : {&out.plain, &out.weighted, &out.withoutSink})
    counts->assign(shares.size(), std::vector<int32_t>(static_cast<size_t>(n), 0));
  parallelFor((n + kRows - 1) / kRows,
              [&](int64_t block) {
                const int64_t first = block * kRows, count = std::min(kRows, n - first);
                Matrix rows(count, n);
                softmaxRows(head, first, count, rows.view(), job);
                std::vector<float> weights;
                for (int64_t r = 0; r < count; ++r) {
                  job.checkpoint();
                  const KeyRange seen = visibility.row(first + r);
                  const size_t row = static_cast<size_t>(first + r);
                  out.sinkMass[row] = rows(r, 0);
                  weights.assign(rows.row(r) + seen.first, rows.row(r) + seen.end);
                  for (size_t j = 0; j < weights.size(); ++j) weights[j] *= written[static_cast<size_t>(seen.first) + j];
                  countNeeded(weights, shares, out.weighted, row);
                  weights.assign(rows.row(r) + std::max<int64_t>(seen.first, 1), rows.row(r) + std::max<int64_t>(seen.end, 1));
                  countNeeded(weights, shares, out.withoutSink, row);
                  weights.assign(rows.row(r) + seen.first, rows.row(r) + seen.end);
                  countNeeded(weights, shares, out.plain, row);
                }
              },
              &job);
  return out;
}

}  // namespace headscope::core
