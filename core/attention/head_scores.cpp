#include "core/attention/head_scores.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/attention/effective_maps.h"
#include "core/attention/effective_scores.h"
#include "core/attention/repeats.h"
#include "core/backend/backend.h"

namespace headscope::core {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kPatternEntries = 1 << 20;  // of one block of listed keys: 4 MB

/// Mean of a row of numbers, in double.
double meanOf(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += v;
  return values.empty() ? kNaN : sum / static_cast<double>(values.size());
}

/// Mean over the rows that `has` of the sum over the keys that `list` names, per head. The keys are listed in blocks.
class PatternMean {
 public:
  PatternMean(const Trace& trace, int64_t layer, Job& job)
      : trace_(trace), layer_(layer), job_(job), sums_(static_cast<size_t>(trace.rule(layer).heads), 0.0) {}

  /// Adds a row with the keys `keys`, each moved by `shift`.
  void row(int64_t query, std::span<const int32_t> keys, int32_t shift) {
    if (pattern_.starts.empty()) {
      pattern_.firstRow = query;
      pattern_.starts.push_back(0);
    }
    // Rows in between that don't count list nothing
    while (pattern_.firstRow + pattern_.rows() < query) pattern_.starts.push_back(pattern_.starts.back());
    for (const int32_t key : keys) pattern_.cols.push_back(key + shift);
    pattern_.starts.push_back(static_cast<int64_t>(pattern_.cols.size()));
    ++rows_;
    if (static_cast<int64_t>(pattern_.cols.size()) >= kPatternEntries) flush();
  }

  std::vector<double> means() {
    flush();
    std::vector<double> means;
    for (const double sum : sums_) means.push_back(rows_ > 0 ? sum / static_cast<double>(rows_) : kNaN);
    return means;
  }

 private:
  void flush() {
    if (pattern_.starts.empty()) return;
    const Matrix sums = trace_.backend().patternSums(trace_.input(layer_), trace_.statistics(layer_), pattern_, job_);
    for (int64_t h = 0; h < sums.rows(); ++h) {
      for (int64_t r = 0; r < sums.cols(); ++r) sums_[static_cast<size_t>(h)] += sums(h, r);
    }
    pattern_ = {};
  }

  const Trace& trace_;
  int64_t layer_;
  Job& job_;
  RowPattern pattern_;
  std::vector<double> sums_;  // [H]
  int64_t rows_ = 0;
};

/// The map's mean over one key a row.
std::vector<double> singleKeyMeans(const Trace& trace, int64_t layer, int64_t firstQuery, const std::function<int64_t(int64_t)>& keyOf,
                                   Job& job) {
  PatternMean mean(trace, layer, job);
  for (int64_t i = firstQuery; i < trace.count(); ++i) {
    const int32_t key = static_cast<int32_t>(keyOf(i));
    mean.row(i, {&key, 1}, 0);
  }
  return mean.means();
}

std::vector<double> repeatMeans(const Trace& trace, int64_t layer, const Repeats& repeats, int32_t shift, Job& job) {
  PatternMean mean(trace, layer, job);
  for (int64_t i = 0; i < trace.count(); ++i) {
    // j + 1 <= i holds for every earlier j
    if (repeats.before(i) > 0) mean.row(i, repeats.earlier(i), shift);
  }
  return mean.means();
}

std::vector<double> statisticMeans(const Trace& trace, int64_t layer, std::span<const float> RowStatistics::*field) {
  std::vector<double> means;
  for (int64_t h = 0; h < trace.rule(layer).heads; ++h) means.push_back(meanOf(trace.rows({layer, h}).*field));
  return means;
}

/// The outputs of a linear map with only the inputs [first, first + count), its change sliced alike.
Linear withInputs(const Linear& whole, int64_t first, int64_t count) {
  Linear part = whole;
  part.weight = whole.weight.inputsFrom(first, count);
  part.bias.clear();
  if (whole.change == nullptr) return part;
  const auto columns = [&](const Matrix& m) {
    Matrix cut(m.rows(), count);
    for (int64_t r = 0; r < m.rows(); ++r) std::copy_n(m.row(r) + first, count, cut.row(r));
    return cut;
  };
  auto change = std::make_shared<LinearChange>();
  for (const LowRank& term : whole.change->terms) change->terms.push_back({columns(term.down), term.up.clone()});
  change->rowScale = whole.change->rowScale;
  part.change = std::move(change);
  return part;
}

}  // namespace

std::string shareName(double share) {
  std::string name = std::to_string(share);
  name.erase(name.find_last_not_of('0') + 1);
  return name;
}

Matrix writtenNorms(const Trace& trace, int64_t layer, Job& job) {
  constexpr int64_t kTokens = 512;  // so that what is written, [tokens, d], stays small
  const AttentionInput& input = trace.input(layer);
  const AttentionRule& rule = input.rule;
  const Linear output = trace.model().attention(layer).output;
  Backend& backend = trace.backend();
  Matrix norms(rule.heads, trace.count());
  const Tensor written = backend.allocate(std::min(kTokens, trace.count()), output.outputs());
  for (int64_t h = 0; h < rule.heads; ++h) {
    const Linear own = withInputs(output, h * rule.valueWidth, rule.valueWidth);
    const Tensor values = input.value.colsFrom(rule.kvHeadOf(h) * rule.valueWidth, rule.valueWidth);
    for (int64_t n = 0; n < trace.count(); n += kTokens) {
      const int64_t count = std::min(kTokens, trace.count() - n);
      const Tensor rows = written.rowsFrom(0, count);
      backend.linear(values.rowsFrom(n, count), own, Into::Replace, rows, job);
      const std::vector<float> lengths = backend.rowNorms(rows, job);
      std::copy(lengths.begin(), lengths.end(), norms.row(h) + n);
    }
  }
  return norms;
}

double HeadScores::at(const std::string& name, HeadRef head) const {
  return values(name)[static_cast<size_t>(head.layer * heads_ + head.head)];
}

const std::vector<double>& HeadScores::values(const std::string& name) const {
  assert(has(name));
  return values_.at(name);
}

void HeadScores::followEffectiveMaps(const Trace& trace, int64_t layer, const Matrix* written, Job& job) {
  if (trace.effectiveMaps() == nullptr) return;
  const Repeats repeats(trace.prompt());
  const std::shared_ptr<const Trace> borrowed(std::shared_ptr<void>(), &trace);
  for (int64_t h = 0; h < heads_; ++h) {
    const AttentionMap map(borrowed, {layer, h});
    if (map.mechanism().empty()) continue;
    job.checkpoint();
    const std::span<const float> norms =
        written != nullptr ? std::span<const float>(written->row(h), static_cast<size_t>(written->cols())) : std::span<const float>();
    for (const auto& [name, value] : effectiveScores(map, repeats, norms, job)) {
      if (has(name)) values_[name][static_cast<size_t>(layer * heads_ + h)] = value;
    }
  }
}

HeadScores headScores(const Trace& trace, bool withKeys, Job& job) {
  HeadScores scores;
  scores.layers_ = trace.layersRun();
  scores.heads_ = trace.spec().heads;
  const bool isCausal = trace.spec().isCausal;
  const auto add = [&](const std::string& name, const std::vector<double>& values) {
    if (!scores.has(name)) scores.names_.push_back(name);
    std::vector<double>& all = scores.values_[name];
    all.insert(all.end(), values.begin(), values.end());
  };
  const Repeats repeats(trace.prompt());
  for (int64_t l = 0; l < scores.layers_; ++l) {
    job.report(static_cast<double>(l) / static_cast<double>(scores.layers_), "scores of layer " + std::to_string(l + 1));
    job.checkpoint();
    add("entropy", statisticMeans(trace, l, &RowStatistics::entropy));
    if (isCausal)
      add("previous", singleKeyMeans(
                          trace, l, 1, [](int64_t i) { return i - 1; }, job));
    add("self", singleKeyMeans(
                    trace, l, 0, [](int64_t i) { return i; }, job));
    add("first", singleKeyMeans(
                     trace, l, 0, [](int64_t) { return int64_t{0}; }, job));
    if (isCausal) add("induction", repeatMeans(trace, l, repeats, 1, job));
    if (isCausal) add("duplicate", repeatMeans(trace, l, repeats, 0, job));
    add("distance", statisticMeans(trace, l, &RowStatistics::distance));
    if (!withKeys) {
      scores.followEffectiveMaps(trace, l, nullptr, job);
      continue;
    }
    const Matrix written = writtenNorms(trace, l, job);
    const KeysNeeded needed = trace.backend().keysNeeded(trace.input(l), trace.statistics(l), &written, kKeyShares, job);
    constexpr int64_t kShares = std::size(kKeyShares);
    for (const auto& [prefix, counts] :
         {std::pair<std::string, const Matrix*>{"keys.", &needed.plain}, {"weighted_keys.", &needed.weighted}}) {
      for (int64_t s = 0; s < kShares; ++s) {
        std::vector<double> means;
        for (int64_t h = 0; h < scores.heads_; ++h) {
          means.push_back(meanOf({counts->row(h * kShares + s), static_cast<size_t>(counts->cols())}));
        }
        add(prefix + shareName(kKeyShares[s]), means);
      }
    }
    scores.followEffectiveMaps(trace, l, &written, job);
  }
  job.report(1.0);
  return scores;
}

}  // namespace headscope::core
