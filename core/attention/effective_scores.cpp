#include "core/attention/effective_scores.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>

#include "core/attention/head_scores.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kRows = 64;  // a piece of work

double entropyOf(std::span<const float> row) {
  double sum = 0;
  for (const float w : row) {
    if (w > 0) sum -= static_cast<double>(w) * std::log2(static_cast<double>(w));
  }
  return sum;
}

/// Adds for each share how many of the weights, the largest first, reach it. Reorders them. A row of zeros needs none.
void addNeeded(std::vector<double>& weights, double* counts) {
  double total = 0;
  for (const double w : weights) total += w;
  if (!(total > 0)) return;
  std::sort(weights.begin(), weights.end(), std::greater<>());
  double sum = 0;
  size_t taken = 0;
  for (size_t s = 0; s < std::size(kKeyShares); ++s) {
    while (taken < weights.size() && sum < kKeyShares[s] * total) sum += weights[taken++];
    counts[s] += static_cast<double>(taken);
  }
}

/// Sums over rows; each has a number of rows of its own to divide by.
struct Sums {
  double entropy = 0, distance = 0, previous = 0, self = 0, first = 0, induction = 0, duplicate = 0;
  double keys[std::size(kKeyShares)] = {}, weightedKeys[std::size(kKeyShares)] = {};
  int64_t repeats = 0;

  void operator+=(const Sums& o) {
    entropy += o.entropy, distance += o.distance, previous += o.previous, self += o.self, first += o.first;
    induction += o.induction, duplicate += o.duplicate, repeats += o.repeats;
    for (size_t s = 0; s < std::size(kKeyShares); ++s) keys[s] += o.keys[s], weightedKeys[s] += o.weightedKeys[s];
  }
};

void addRow(std::span<const float> row, int64_t i, const Repeats& repeats, std::span<const float> written, bool isSigned, Sums& sums) {
  if (i > 0) sums.previous += row[static_cast<size_t>(i - 1)];
  sums.self += row[static_cast<size_t>(i)];
  sums.first += row[0];
  for (const int32_t j : repeats.earlier(i)) {
    sums.induction += row[static_cast<size_t>(j + 1)];
    sums.duplicate += row[static_cast<size_t>(j)];
  }
  sums.repeats += repeats.before(i) > 0 ? 1 : 0;
  if (isSigned) return;
  sums.entropy += entropyOf(row);
  for (size_t j = 0; j < row.size(); ++j) sums.distance += row[j] * std::abs(static_cast<double>(i) - static_cast<double>(j));
  if (written.empty()) return;
  std::vector<double> weights, weighted;
  for (size_t j = 0; j < row.size(); ++j) {
    if (row[j] > 0) weights.push_back(row[j]), weighted.push_back(static_cast<double>(row[j]) * written[j]);
  }
  addNeeded(weights, sums.keys);
  addNeeded(weighted, sums.weightedKeys);
}

/// body(query, row [N]) for every row, from several threads.
void eachRow(const AttentionMap& map, const std::function<void(int64_t first, const Matrix& rows)>& body, Job& job) {
  const int64_t n = map.size();
  parallelFor((n + kRows - 1) / kRows,
              [&](int64_t block) {
                job.checkpoint();
                body(block * kRows, map.tile({0, block * kRows, std::min(kRows, n - block * kRows), 0, n, Pooling::Max}, job));
              },
              &job);
}

}  // namespace

std::map<std::string, double> effectiveScores(const AttentionMap& map, const Repeats& repeats, std::span<const float> written, Job& job) {
  const auto n = static_cast<double>(map.size());
  const bool isSigned = map.isSigned();
  Sums all;
  std::mutex mutex;
  eachRow(
      map,
      [&](int64_t first, const Matrix& rows) {
        Sums sums;
        for (int64_t r = 0; r < rows.rows(); ++r)
          addRow({rows.row(r), static_cast<size_t>(rows.cols())}, first + r, repeats, written, isSigned, sums);
        const std::lock_guard lock(mutex);
        all += sums;
      },
      job);
  const double repeated = static_cast<double>(all.repeats);
  std::map<std::string, double> out{{"entropy", isSigned ? kNaN : all.entropy / n},
                                    {"distance", isSigned ? kNaN : all.distance / n},
                                    {"previous", n > 1 ? all.previous / (n - 1) : kNaN},
                                    {"self", all.self / n},
                                    {"first", all.first / n},
                                    {"induction", repeated > 0 ? all.induction / repeated : kNaN},
                                    {"duplicate", repeated > 0 ? all.duplicate / repeated : kNaN}};
  for (size_t s = 0; s < std::size(kKeyShares) && !written.empty(); ++s) {
    out["keys." + shareName(kKeyShares[s])] = isSigned ? kNaN : all.keys[s] / n;
    out["weighted_keys." + shareName(kKeyShares[s])] = isSigned ? kNaN : all.weightedKeys[s] / n;
  }
  return out;
}

std::vector<float> effectiveEntropy(const AttentionMap& map, Job& job) {
  std::vector<float> out(static_cast<size_t>(map.size()));
  eachRow(
      map,
      [&](int64_t first, const Matrix& rows) {
        for (int64_t r = 0; r < rows.rows(); ++r)
          out[static_cast<size_t>(first + r)] = static_cast<float>(entropyOf({rows.row(r), static_cast<size_t>(rows.cols())}));
      },
      job);
  return out;
}

}  // namespace headscope::core
