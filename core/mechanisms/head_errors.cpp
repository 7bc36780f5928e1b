#include "core/mechanisms/head_errors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "core/base/parallel.h"
#include "core/mechanisms/row_order.h"
#include "core/mechanisms/softmax_attention.h"
#include "core/mechanisms/softmax_elsewhere.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

double correlation(std::span<const float> a, std::span<const float> b) {
  const size_t n = a.size();
  if (n < 2) return kNaN;
  const double mean = 0.5 * static_cast<double>(n - 1);  // of any ranks
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < n; ++i) {
    const double x = static_cast<double>(a[i]) - mean, y = static_cast<double>(b[i]) - mean;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : kNaN;
}

void ranksOf(std::span<const float> values, RowOrder& order, std::vector<float>& ranks) {
  order.ascending(values);
  order.tiedRanks(ranks);
}

/// The row measures of one mechanism against the true row; trueRanks are of the visible keys.
struct RowPair {
  const float* logTrue;  // [N], -infinity where hidden
  const float* trueRow;  // [N]
  const float* row;      // [N]
  int64_t count;
  KeyRange visible;
};

void measure(const RowPair& p, int64_t i, HeadErrors& out) {
  double kept = 0, dot = 0, trueSquares = 0, squares = 0, sum = 0, kl = 0;
  bool isSigned = false, isOutside = false;
  for (int64_t j = 0; j < p.count; ++j) {
    const double a = static_cast<double>(p.trueRow[j]), b = static_cast<double>(p.row[j]);
    trueSquares += a * a;
    if (p.row[j] == 0.0f) continue;
    kept += a;
    dot += a * b;
    squares += b * b;
    sum += b;
    isSigned |= b < 0;
    if (p.logTrue[j] == -std::numeric_limits<float>::infinity()) {
      isOutside = true;
    } else if (b > 0) {
      kl += b * (std::log(b) - static_cast<double>(p.logTrue[j]));
    }
  }
  const size_t r = static_cast<size_t>(i);
  out.massKept[r] = static_cast<float>(kept);
  out.kl[r] = isSigned || isOutside || std::abs(sum - 1.0) > 1e-3 ? kNaN : static_cast<float>(std::max(0.0, kl));
  out.cosine[r] = squares > 0 && trueSquares > 0 ? static_cast<float>(dot / std::sqrt(squares * trueSquares)) : kNaN;
}

double meanOf(const std::vector<float>& values) {
  double sum = 0;
  int64_t count = 0;
  for (const float v : values) {
    if (std::isnan(v)) continue;
    sum += static_cast<double>(v);
    ++count;
  }
  const bool isTelling = count > 0 && 2 * count >= static_cast<int64_t>(values.size());  // a few rows don't speak for the head
  return isTelling ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
}

/// Runs whose rows a device summed, measured from the sums: with a = exp(s - L) the true row and b = exp(s - l) on the keys kept, both of
/// the same scores s, the mass kept is exp(l - L), KL(b || a) = L - l, and the cosine the root of the squares' ratio.
std::vector<size_t> measureSums(const HeadInput& input, const SoftmaxHead& head, std::span<const HeadRun* const> runs,
                                std::vector<HeadErrors>& errors, Job& job) {
  std::vector<size_t> others;
  std::optional<ChosenRows> truth;
  for (size_t m = 0; m < runs.size(); ++m) {
    const std::optional<ChosenRows> own = runs[m]->rowSums(input, job);
    if (!own) {
      others.push_back(m);
      continue;
    }
    if (!truth) truth = chooseElsewhere(head, {}, {}, job);
    for (size_t r = 0; r < own->logSumExp.size(); ++r) {
      const double less = truth->logSumExp[r] - own->logSumExp[r];
      const bool isEmpty = own->logSumExp[r] == -std::numeric_limits<double>::infinity();
      errors[m].massKept[r] = isEmpty ? 0.0f : static_cast<float>(std::exp(-less));
      errors[m].kl[r] = isEmpty ? kNaN : static_cast<float>(std::max(0.0, less));
      errors[m].cosine[r] = isEmpty ? kNaN : static_cast<float>(std::exp(0.5 * (own->logSumSquares[r] - truth->logSumSquares[r])));
    }
  }
  return others;
}

void measureRows(const HeadInput& input, std::span<const HeadRun* const> runs, const ErrorOptions& options, std::vector<HeadErrors>& errors,
                 Job& job) {
  const int64_t n = input.count();
  const Visibility visibility(input);
  const SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(visibility, nullptr));
  std::vector<size_t> measured;  // row by row, here
  if (!options.hasRankCorrelation && canChooseElsewhere(head)) {
    measured = measureSums(input, head, runs, errors, job);
    if (measured.empty()) return;
  } else {
    for (size_t m = 0; m < runs.size(); ++m) measured.push_back(m);
  }
  parallelFor(
      (n + kRows - 1) / kRows,
      [&](int64_t block) {
        const int64_t first = block * kRows, count = std::min(kRows, n - first);
        Matrix logs(count, n), truth(count, n), rows(count, n);
        softmaxRows(head, first, count, logs.view(), job, RowScale::Log);
        const Eigen::Map<const Eigen::ArrayXf> logValues(logs.data(), logs.size());
        Eigen::Map<Eigen::ArrayXf>(truth.data(), truth.size()) = (logValues > -87.0f).select(logValues.exp(), 0.0f);
        RowOrder order;
        std::vector<float> ranks;
        std::vector<std::vector<float>> trueRanks(static_cast<size_t>(count));
        for (int64_t r = 0; r < count && options.hasRankCorrelation; ++r) {
          const KeyRange seen = visibility.row(first + r);
          ranksOf({truth.row(r) + seen.first, static_cast<size_t>(seen.end - seen.first)}, order, trueRanks[static_cast<size_t>(r)]);
        }
        for (const size_t m : measured) {
          job.checkpoint();
          runs[m]->mapRows(first, count, rows.view(), job);
          for (int64_t r = 0; r < count; ++r) {
            const KeyRange seen = visibility.row(first + r);
            measure({logs.row(r), truth.row(r), rows.row(r), n, seen}, first + r, errors[m]);
            if (!options.hasRankCorrelation) continue;
            ranksOf({rows.row(r) + seen.first, static_cast<size_t>(seen.end - seen.first)}, order, ranks);
            errors[m].rankCorrelation[static_cast<size_t>(first + r)] =
                static_cast<float>(correlation(trueRanks[static_cast<size_t>(r)], ranks));
          }
        }
      },
      &job);
}

}  // namespace

double rankCorrelation(std::span<const float> a, std::span<const float> b) {
  RowOrder order;
  std::vector<float> ranksA, ranksB;
  ranksOf(a, order, ranksA);
  ranksOf(b, order, ranksB);
  return correlation(ranksA, ranksB);
}

WrittenNorm::WrittenNorm(ConstMatrixView outputWeight) : width_(outputWeight.data == nullptr ? 0 : outputWeight.rows) {
  gram_.assign(static_cast<size_t>(width_ * width_), 0.0);
  for (int64_t a = 0; a < width_; ++a) {
    for (int64_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (int64_t c = 0; c < outputWeight.cols; ++c)
        sum += static_cast<double>(outputWeight(a, c)) * static_cast<double>(outputWeight(b, c));
      gram_[static_cast<size_t>(a * width_ + b)] = gram_[static_cast<size_t>(b * width_ + a)] = sum;
    }
  }
}

double WrittenNorm::squared(const float* row, int64_t width) const {
  double sum = 0;
  if (width_ == 0) {
    for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    return sum;
  }
  using Gram = Eigen::Map<const Eigen::MatrixXd>;
  const Eigen::VectorXd x = Eigen::Map<const Eigen::VectorXf>(row, width_).cast<double>();
  sum = x.dot(Gram(gram_.data(), width_, width_) * x);
  return std::max(0.0, sum);
}

std::vector<HeadErrors> headErrors(const HeadInput& input, std::span<const HeadRun* const> runs, ConstMatrixView outputWeight,
                                   const ErrorOptions& options, Job& job) {
  const int64_t n = input.count(), v = input.value.cols;
  std::vector<HeadErrors> errors(runs.size());
  const WrittenNorm norm(outputWeight);
  Matrix truth(n, v);
  softmaxAttention(SoftmaxHead::of(input, std::make_shared<PatternMask>(Visibility(input), nullptr)), truth.view(), job);
  double trueSquares = 0;
  for (int64_t r = 0; r < n; ++r) trueSquares += norm.squared(truth.row(r), v);
  parallelFor(
      static_cast<int64_t>(runs.size()),
      [&](int64_t m) {
        HeadErrors& e = errors[static_cast<size_t>(m)];
        Matrix out(n, v);
        runs[static_cast<size_t>(m)]->output(out.view(), job);
        e.emptyRows = runs[static_cast<size_t>(m)]->emptyRows();
        double squares = 0, difference = 0;
        for (int64_t r = 0; r < n; ++r) {
          squares += norm.squared(out.row(r), v);
          for (int64_t c = 0; c < v; ++c) out(r, c) -= truth(r, c);
          difference += norm.squared(out.row(r), v);
        }
        e.output = std::sqrt(difference / trueSquares);
        e.rootMeanSquareOutput = std::sqrt(squares / static_cast<double>(n));
        for (std::vector<float>* rows : {&e.massKept, &e.kl, &e.cosine, &e.rankCorrelation})
          rows->assign(options.hasRows ? static_cast<size_t>(n) : 0, kNaN);
      },
      &job);
  if (options.hasRows) measureRows(input, runs, options, errors, job);
  for (HeadErrors& e : errors) {
    e.meanMassKept = meanOf(e.massKept);
    e.meanKl = meanOf(e.kl);
    e.meanCosine = meanOf(e.cosine);
    e.meanRankCorrelation = meanOf(e.rankCorrelation);
  }
  return errors;
}

}  // namespace headscope::core
