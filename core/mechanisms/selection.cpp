#include "core/mechanisms/selection.h"

#include <algorithm>
#include <limits>
#include <mutex>

#include "core/base/parallel.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/softmax_run.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;
constexpr int64_t kNear = 48;  // candidates that are sorted in the end

using ArrayMap = Eigen::Map<Eigen::ArrayXf>;
using ConstArrayMap = Eigen::Map<const Eigen::ArrayXf>;

/// Scores of rows [first, first + rows) against keys [low, low + scores.cols), scaled and capped.
void scoreRows(const SoftmaxHead& head, int64_t first, int64_t low, MatrixView scores) {
  Work unused;
  productByTransposed(head.query.rowsFrom(first, scores.rows), head.key.rowsFrom(low, scores.cols), scores, static_cast<float>(head.scale),
                      0.0f, unused);
  for (int64_t r = 0; r < scores.rows; ++r) applySoftcap(head.softcap, scores.row(r), scores.cols);
}

struct Tail {
  double mass = 0;
  int64_t count = 0;
};

/// Sum and number of the values >= threshold: in lanes, which compilers turn into vectors (Eigen's comparisons are not).
Tail tailFrom(const float* values, int64_t count, float threshold) {
  constexpr int64_t kLanes = 16;
  float mass[kLanes] = {};
  int32_t members[kLanes] = {};
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) {
      const float v = values[j + l];
      mass[l] += v >= threshold ? v : 0.0f;
      members[l] += v >= threshold ? 1 : 0;
    }
  }
  Tail tail;
  for (int64_t l = 0; l < kLanes; ++l) {
    tail.mass += static_cast<double>(mass[l]);
    tail.count += members[l];
  }
  for (; j < count; ++j) {
    if (values[j] < threshold) continue;
    tail.mass += static_cast<double>(values[j]);
    ++tail.count;
  }
  return tail;
}

/// The same sum in double.
double exactMassFrom(const float* values, int64_t count, float threshold) {
  constexpr int64_t kLanes = 8;
  double mass[kLanes] = {}, sum = 0;
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) mass[l] += static_cast<double>(values[j + l] >= threshold ? values[j + l] : 0.0f);
  }
  for (const double m : mass) sum += m;
  for (; j < count; ++j) sum += static_cast<double>(values[j] >= threshold ? values[j] : 0.0f);
  return sum;
}

void appendRanges(const std::vector<int32_t>& keys, int64_t low, std::vector<KeyRange>& out) {
  const size_t start = out.size();
  for (const int32_t key : keys) {
    const int64_t j = low + key;
    if (out.size() > start && out.back().end == j) {
      ++out.back().end;
    } else {
      out.push_back({j, j + 1});
    }
  }
}

/// Softmax over the chosen keys of each row: the scores that chose serve as its logits, so they are computed once.
class SelectionRun : public SoftmaxRun {
 public:
  SelectionRun(const HeadInput& input, SelectionRule rule)
      : SoftmaxRun(SoftmaxHead::of(input, std::make_shared<SelectionMask>(input, rule)),
                   {"chosen from all exact scores: saves reads of V, not scores"}, kFormula),
        visibility_(input),
        rule_(rule) {}

  void output(MatrixView out, Job& job) const override {
    const int64_t n = head().query.rows;
    Tally total;
    std::mutex mutex;
    parallelRanges((n + kRows - 1) / kRows, 1,
                   [&](int64_t begin, int64_t end) {
                     Tally mine;
                     RowSelection selection(rule_);
                     std::vector<float> scores;
                     for (int64_t b = begin; b < end; ++b) {
                       job.checkpoint();
                       block(b * kRows, std::min(kRows, n - b * kRows), selection, scores, out, mine);
                     }
                     mine.comparisons = selection.comparisons();
                     const std::lock_guard lock(mutex);
                     total.scored += mine.scored;
                     total.kept += mine.kept;
                     total.added += mine.added;
                     total.comparisons += mine.comparisons;
                     total.keyRows += mine.keyRows;
                   },
                   &job);
    const std::lock_guard lock(mutex_);
    tally_ = total;
  }

  Cost cost() const override {
    const std::lock_guard lock(mutex_);
    const int64_t n = head().key.rows, k = head().key.cols, v = head().value.cols;
    Cost cost;
    cost.operations = tally_.scored * (2.0 * static_cast<double>(k) + 3.0) + tally_.comparisons +
                      tally_.added * 2.0 * static_cast<double>(v) + static_cast<double>(n * v);
    cost.bytesMoved =
        4.0 * (static_cast<double>((k + v) * n) + static_cast<double>(k) * tally_.keyRows + static_cast<double>(v) * tally_.kept);
    cost.bytesHeld = 4.0 * static_cast<double>((kRows + 3) * n);
    cost.pairs = tally_.scored;
    cost.keptPairs = tally_.kept;
    cost.formula = kFormula;
    cost.heldFormula = "4 (64 + 3) N";
    return cost;
  }

 private:
  static constexpr const char* kFormula = "S (2 k + 3) + C + 2 v P + N v: S scores, C comparisons to choose, P pairs added up";
  struct Tally {
    double scored = 0, kept = 0, added = 0, comparisons = 0, keyRows = 0;
  };

  void block(int64_t first, int64_t rows, RowSelection& selection, std::vector<float>& buffer, MatrixView out, Tally& tally) const {
    const int64_t low = visibility_.row(first).first, high = visibility_.row(first + rows - 1).end, width = high - low;
    buffer.resize(static_cast<size_t>(rows * width));
    const MatrixView scores{buffer.data(), rows, width, width};
    scoreRows(head(), first, low, scores);
    tally.scored += static_cast<double>(rows * width);
    tally.keyRows += static_cast<double>(width);
    int64_t kept = 0;
    std::vector<std::vector<int32_t>> chosen(static_cast<size_t>(rows));
    for (int64_t r = 0; r < rows; ++r) {
      const KeyRange seen = visibility_.row(first + r);
      float* row = scores.row(r);
      const std::vector<int32_t>& keys = selection.choose(row + (seen.first - low), seen.end - seen.first);
      kept += static_cast<int64_t>(keys.size());
      std::fill(row, row + width, 0.0f);  // scores become weights
      float sum = 0;
      for (const int32_t j : keys) sum += row[seen.first - low + j] = selection.weights()[static_cast<size_t>(j)];
      const float share = 1.0f / sum;
      for (const int32_t j : keys) row[seen.first - low + j] *= share;
      chosen[static_cast<size_t>(r)] = keys;
    }
    tally.kept += static_cast<double>(kept);
    if (kept * 4 >= rows * width) {
      Work work;
      product(scores, head().value.rowsFrom(low, width), out.rowsFrom(first, rows), 1.0f, 0.0f, work);
      tally.added += static_cast<double>(rows * width);
      return;
    }
    tally.added += static_cast<double>(kept);
    for (int64_t r = 0; r < rows; ++r) {
      Eigen::Map<Eigen::VectorXf> sum(out.row(first + r), out.cols);
      sum.setZero();
      const int64_t shift = visibility_.row(first + r).first - low;
      for (const int32_t j : chosen[static_cast<size_t>(r)])
        sum.noalias() += scores(r, shift + j) * Eigen::Map<const Eigen::VectorXf>(head().value.row(low + shift + j), out.cols);
    }
  }

  Visibility visibility_;
  SelectionRule rule_;
  mutable std::mutex mutex_;
  mutable Tally tally_;
};

class SelectionMechanism : public NamedMechanism {
 public:
  SelectionMechanism(Arguments arguments, SelectionRule rule) : NamedMechanism(std::move(arguments)), rule_(rule) {}
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override { return std::make_unique<SelectionRun>(input, rule_); }

 private:
  SelectionRule rule_;
};

}  // namespace

const std::vector<int32_t>& RowSelection::choose(const float* scores, int64_t count) {
  weights_.resize(static_cast<size_t>(count));
  chosen_.clear();
  if (count == 0) return chosen_;
  const ConstArrayMap all(scores, count);
  ArrayMap weights(weights_.data(), count);
  if (rule_.keys > 0) {  // chosen by the scores themselves, which exp could make equal
    weights = all;
    keepLargest(rule_.keys);
    weights = (all - all.maxCoeff()).exp();
  } else {
    weights = (all - all.maxCoeff()).exp();
    keepMass();
  }
  return chosen_;
}

void RowSelection::keepLargest(int64_t keys) {
  const int64_t count = static_cast<int64_t>(weights_.size());
  if (keys >= count) {
    for (int64_t j = 0; j < count; ++j) chosen_.push_back(static_cast<int32_t>(j));
    return;
  }
  const ConstArrayMap values(weights_.data(), count);
  float low = values.minCoeff(), high = values.maxCoeff();  // above high: fewer than `keys`; from low on: at least `keys`
  int64_t above = 0, from = count;
  bool isSure = false;  // "above high" counts strictly larger ones
  while (from - above > kNear) {
    const float middle = low + 0.5f * (high - low);
    if (!(middle > low && middle < high)) break;
    const int64_t reached = tailFrom(weights_.data(), count, middle).count;
    comparisons_ += static_cast<double>(count);
    if (reached >= keys) {
      low = middle;
      from = reached;
    } else {
      high = middle;
      above = reached;
      isSure = true;
    }
  }
  gather(low, isSure ? high : std::numeric_limits<float>::infinity());
  comparisons_ += 2.0 * static_cast<double>(count);
  const int64_t missing = std::min(keys - above, static_cast<int64_t>(near_.size()));  // fewer only where scores are NaN
  std::partial_sort(near_.begin(), near_.begin() + missing, near_.end());
  keepThrough(missing, high);
}

void RowSelection::keepMass() {
  const int64_t count = static_cast<int64_t>(weights_.size());
  const double total = exactMassFrom(weights_.data(), count, 0.0f);
  const double wanted = rule_.mass - 1e-12;
  float low = 0.0f, high = 1.0f;  // mass from high on: too little, or unknown; from low on: enough
  bool isSure = false;
  // Float sums are right to 1e-6 or so: the last steps are left to the exact sum below
  const double margin = 1e-5 * total;
  int64_t fromLow = count, fromHigh = 0;
  while (fromLow - fromHigh > kNear) {
    const float middle = low + 0.5f * (high - low);
    if (!(middle > low && middle < high)) break;
    const Tail tail = tailFrom(weights_.data(), count, middle);
    comparisons_ += 2.0 * static_cast<double>(count);
    if (tail.mass >= wanted * total + margin) {
      low = middle;
      fromLow = tail.count;
    } else if (tail.mass < wanted * total - margin) {
      high = middle;
      fromHigh = tail.count;
      isSure = true;
    } else {
      break;
    }
  }
  gather(low, isSure ? high : std::numeric_limits<float>::infinity());
  comparisons_ += 3.0 * static_cast<double>(count);
  std::sort(near_.begin(), near_.end());
  double sum = isSure ? exactMassFrom(weights_.data(), count, high) : 0.0;
  int64_t taken = 0;
  while (taken < static_cast<int64_t>(near_.size()) && ((fromHigh == 0 && taken == 0) || sum / total < wanted))
    sum -= static_cast<double>(near_[static_cast<size_t>(taken++)].first);
  keepThrough(taken, high);
}

void RowSelection::gather(float low, float high) {
  const int64_t count = static_cast<int64_t>(weights_.size());
  indices_.resize(static_cast<size_t>(count));
  int64_t found = 0;
  for (int64_t j = 0; j < count; ++j) {  // without branches, which no one could guess
    const float w = weights_[static_cast<size_t>(j)];
    indices_[static_cast<size_t>(found)] = static_cast<int32_t>(j);
    found += static_cast<int64_t>(w >= low) & static_cast<int64_t>(w < high);
  }
  near_.clear();
  for (int64_t i = 0; i < found; ++i) {
    const int32_t j = indices_[static_cast<size_t>(i)];
    near_.emplace_back(-weights_[static_cast<size_t>(j)], j);
  }
}

void RowSelection::keepThrough(int64_t taken, float high) {
  const float cut = taken > 0 ? -near_[static_cast<size_t>(taken - 1)].first : high;
  const int64_t last = taken > 0 ? near_[static_cast<size_t>(taken - 1)].second : std::numeric_limits<int64_t>::max();
  const int64_t count = static_cast<int64_t>(weights_.size());
  chosen_.resize(static_cast<size_t>(count));
  int64_t kept = 0;
  for (int64_t j = 0; j < count; ++j) {
    const float w = weights_[static_cast<size_t>(j)];
    chosen_[static_cast<size_t>(kept)] = static_cast<int32_t>(j);
    kept += static_cast<int64_t>(w > cut) | (static_cast<int64_t>(w == cut) & static_cast<int64_t>(j <= last));
  }
  chosen_.resize(static_cast<size_t>(kept));
}

SelectionMask::SelectionMask(const HeadInput& input, Rule rule)
    : Mask(input.count()),
      query_(input.query),
      key_(input.key),
      scale_(input.scale),
      softcap_(input.softcap),
      visibility_(input),
      rule_(rule) {}

double SelectionMask::selectionOperations(int64_t row) const {
  const KeyRange visible = visibility_.row(row);
  return static_cast<double>(visible.end - visible.first) * (2.0 * static_cast<double>(query_.cols) + 2.0);
}

void SelectionMask::ranges(int64_t row, std::vector<KeyRange>& out) const {
  RangeList list;
  blockRanges(row, 1, list);
  out.insert(out.end(), list.ranges.begin(), list.ranges.end());
}

void SelectionMask::blockRanges(int64_t first, int64_t count, RangeList& out) const {
  out.clear();
  const SoftmaxHead head{query_, key_, key_, scale_, softcap_, nullptr, nullptr};
  RowSelection selection(rule_);
  for (int64_t begin = first; begin < first + count; begin += kRows) {
    const int64_t rows = std::min(kRows, first + count - begin);
    const int64_t low = visibility_.row(begin).first, high = visibility_.row(begin + rows - 1).end;
    Matrix scores(rows, high - low);  // [block rows, visible keys]
    scoreRows(head, begin, low, scores.view());
    for (int64_t r = 0; r < rows; ++r) {
      const KeyRange seen = visibility_.row(begin + r);
      appendRanges(selection.choose(scores.row(r) + (seen.first - low), seen.end - seen.first), seen.first, out.ranges);
      out.begin.push_back(out.ranges.size());
    }
  }
}

std::vector<MechanismKind> selectionKinds() {
  return {{"topk",
           "the keys with the largest scores of each row",
           {Parameter::integer("k", 16, 1, kLargestParameter, "keys a query keeps")},
           [](const Arguments& a) {
             return std::make_unique<SelectionMechanism>(a, SelectionRule{a.integer("k"), 0});
           }},
          {"topp",
           "the smallest set of keys whose mass reaches p",
           {Parameter::real("p", 0.9, 1e-6, 1.0, "share of the mass kept")},
           [](const Arguments& a) {
             return std::make_unique<SelectionMechanism>(a, SelectionRule{0, a.real("p")});
           }}};
}

}  // namespace headscope::core
