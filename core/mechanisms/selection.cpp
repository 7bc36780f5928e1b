#include "core/mechanisms/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "core/base/parallel.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/softmax_elsewhere.h"
#include "core/mechanisms/softmax_run.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;
constexpr int64_t kNear = 16;       // candidates that are sorted in the end
constexpr int64_t kDenseShare = 8;  // one pair in so many kept: a product of the whole block costs less than adding one by one

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

/// The same sum in double: picked out in float first, which compilers turn into vectors.
double exactMassFrom(const float* values, int64_t count, float threshold) {
  constexpr int64_t kBlock = 64, kLanes = 8;
  double mass[kLanes] = {}, sum = 0;
  float picked[kBlock];
  int64_t j = 0;
  for (; j + kBlock <= count; j += kBlock) {
    for (int64_t l = 0; l < kBlock; ++l) picked[l] = values[j + l] >= threshold ? values[j + l] : 0.0f;
    for (int64_t l = 0; l < kBlock; l += kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) mass[i] += static_cast<double>(picked[l + i]);
    }
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
    if (const DeviceForm form = deviceForm(); canChooseElsewhere(form.head)) return outputElsewhere(form, out, job);
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

 protected:
  DeviceForm deviceForm() const override {
    SoftmaxHead seen = head();
    seen.mask = std::make_shared<PatternMask>(visibility_, nullptr);
    return {std::move(seen), {nullptr, rule_.keys, rule_.keys > 0 ? 0.0 : rule_.mass}};
  }

 private:
  static constexpr const char* kFormula = "S (2 k + 3) + C + 2 v P + N v: S scores, C comparisons to choose, P pairs added up";
  struct Tally {
    double scored = 0, kept = 0, added = 0, comparisons = 0, keyRows = 0;
  };

  /// A device passes over a row once for each bit of a score, and twice more; what it leaves out it multiplies by zero.
  void outputElsewhere(const DeviceForm& form, MatrixView out, Job& job) const {
    constexpr double kPasses = 34;
    const ChosenRows done = chooseElsewhere(form.head, form.rule, out, job);
    const std::lock_guard lock(mutex_);
    tally_ = {done.pairs, done.kept, done.pairs, kPasses * done.pairs, done.keyRows};
  }

  void block(int64_t first, int64_t rows, RowSelection& selection, std::vector<float>& buffer, MatrixView out, Tally& tally) const {
    const int64_t low = visibility_.row(first).first, high = visibility_.row(first + rows - 1).end, width = high - low;
    buffer.resize(static_cast<size_t>(rows * width));
    const MatrixView scores{buffer.data(), rows, width, width};
    scoreRows(head(), first, low, scores);
    tally.scored += static_cast<double>(rows * width);
    tally.keyRows += static_cast<double>(width);
    int64_t kept = 0;
    std::vector<RowSelection::Cut> cuts;
    for (int64_t r = 0; r < rows; ++r) {
      const KeyRange seen = visibility_.row(first + r);
      cuts.push_back(selection.cut(scores.row(r) + (seen.first - low), seen.end - seen.first));
      kept += cuts.back().kept;
    }
    tally.kept += static_cast<double>(kept);
    const bool isDense = kept * kDenseShare >= rows * width;
    tally.added += static_cast<double>(isDense ? rows * width : kept);
    for (int64_t r = 0; r < rows; ++r) {
      const KeyRange seen = visibility_.row(first + r);
      const int64_t before = seen.first - low, count = seen.end - seen.first;
      float* row = scores.row(r);
      if (isDense) {
        std::fill(row, row + before, 0.0f);
        std::fill(row + before + count, row + width, 0.0f);
        weigh(row + before, count, cuts[static_cast<size_t>(r)]);
      } else {
        addKept(row + before, count, seen.first, cuts[static_cast<size_t>(r)], out.row(first + r));
      }
    }
    if (!isDense) return;
    Work work;
    product(scores, head().value.rowsFrom(low, width), out.rowsFrom(first, rows), 1.0f, 0.0f, work);
  }

  /// Values become weights that sum to 1, zero where the cut leaves them out.
  void weigh(float* values, int64_t count, const RowSelection::Cut& cut) const {
    ArrayMap all(values, count);
    const float largest = all.maxCoeff();
    for (int64_t j = cut.last + 1; j < count; ++j) {  // ties after the last one
      if (values[j] == cut.value) values[j] = -std::numeric_limits<float>::infinity();
    }
    if (rule_.keys > 0) {
      for (int64_t j = 0; j < count; ++j) values[j] = values[j] >= cut.value ? values[j] : -std::numeric_limits<float>::infinity();
      all = (all - largest).exp();
    } else {
      for (int64_t j = 0; j < count; ++j) values[j] = values[j] >= cut.value ? values[j] : 0.0f;
    }
    all *= 1.0f / all.sum();
  }

  /// The output of one row whose kept keys are few.
  void addKept(const float* values, int64_t count, int64_t firstKey, const RowSelection::Cut& cut, float* out) const {
    Eigen::Map<Eigen::VectorXf> sum(out, head().value.cols);
    sum.setZero();
    std::vector<int32_t> keys;
    keys.reserve(static_cast<size_t>(cut.kept));
    appendKept(values, count, cut, 0, keys);
    float largest = -std::numeric_limits<float>::infinity(), total = 0;
    for (const int32_t j : keys) largest = std::max(largest, values[j]);
    for (const int32_t j : keys) {
      const float weight = rule_.keys > 0 ? std::exp(values[j] - largest) : values[j];
      total += weight;
      sum.noalias() += weight * Eigen::Map<const Eigen::VectorXf>(head().value.row(firstKey + j), sum.size());
    }
    if (total > 0) sum *= 1.0f / total;
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

RowSelection::Cut RowSelection::cut(float* scores, int64_t count) {
  if (count == 0) return {};
  if (rule_.keys > 0) return keepLargest(scores, count, rule_.keys);  // by the scores themselves, which exp could make equal
  ArrayMap all(scores, count);
  all = (all - all.maxCoeff()).exp();
  return keepMass(scores, count);
}

const std::vector<int32_t>& RowSelection::choose(const float* scores, int64_t count) {
  copy_.assign(scores, scores + count);
  chosen_.clear();
  const Cut found = cut(copy_.data(), count);
  appendKept(copy_.data(), count, found, 0, chosen_);
  return chosen_;
}

RowSelection::Cut RowSelection::keepLargest(const float* values, int64_t count, int64_t keys) {
  if (keys >= count) return {-std::numeric_limits<float>::infinity(), count, count};
  const ConstArrayMap all(values, count);
  const float largest = all.maxCoeff(), smallest = all.minCoeff();
  float low = smallest, high = largest;  // above high: fewer than `keys`; from low on: at least `keys`
  int64_t above = 0, from = count;
  bool isSure = false;  // "above high" counts strictly larger ones
  float middle = largest - hint_, step = 0.05f * hint_;
  if (!(middle > low && middle < high)) middle = low + 0.5f * (high - low);
  while (from - above > kNear) {
    if (!(middle > low && middle < high)) break;
    const int64_t reached = tailFrom(values, count, middle).count;
    comparisons_ += static_cast<double>(count);
    if (reached >= keys) {
      low = middle;
      from = reached;
    } else {
      high = middle;
      above = reached;
      isSure = true;
    }
    // Steps away from the row before's cut, each twice the last, until it is passed; then halves
    const float stepped = reached >= keys ? low + step : high - step;
    step *= 2;
    middle = stepped > low && stepped < high && !(isSure && low > smallest) ? stepped : low + 0.5f * (high - low);
  }
  gather(values, count, low, isSure ? high : std::numeric_limits<float>::infinity());
  comparisons_ += 2.0 * static_cast<double>(count);
  const int64_t missing = std::min(keys - above, static_cast<int64_t>(near_.size()));  // fewer only where scores are NaN
  std::partial_sort(near_.begin(), near_.begin() + missing, near_.end());
  const Cut found = cutAfter(missing, high, isSure ? above : 0);
  hint_ = largest - found.value;
  return found;
}

RowSelection::Cut RowSelection::keepMass(const float* values, int64_t count) {
  const double total = exactMassFrom(values, count, 0.0f);
  const double wanted = rule_.mass - 1e-12;
  float low = 0.0f, high = 1.0f;  // mass from high on: too little, or unknown; from low on: enough
  bool isSure = false;
  // Float sums are right to 1e-6 or so: the last steps are left to the exact sum below
  const double margin = 1e-5 * total;
  int64_t fromLow = count, fromHigh = 0;
  float middle = hint_ > 0 && hint_ < 1 ? hint_ : 0.0625f;
  const double dense = density_ * static_cast<double>(count);
  double step = 0;  // of the logarithm
  while (fromLow - fromHigh > kNear) {
    if (!(middle > low && middle < high)) break;
    const Tail tail = tailFrom(values, count, middle);
    comparisons_ += 2.0 * static_cast<double>(count);
    const bool isEnough = tail.mass >= wanted * total + margin;
    if (isEnough) {
      low = middle;
      fromLow = tail.count;
    } else if (tail.mass < wanted * total - margin) {
      high = middle;
      fromHigh = tail.count;
      isSure = true;
    } else {
      break;
    }
    // Past where the cut would be if the weights lay as densely as in the row before, then twice as far, until it is passed; then the
    // geometric middle, by which weights that are exponentials are told apart soonest
    const double missing = std::abs(tail.mass - wanted * total) / (static_cast<double>(middle) * std::max(1.0, dense));
    step = step > 0 ? 2 * step : std::clamp(1.3 * missing, 0.02, 3.0);
    const float stepped =
        static_cast<float>(isEnough ? static_cast<double>(low) * std::exp(step) : static_cast<double>(high) * std::exp(-step));
    const bool isBetween = isSure && low > 0;
    middle = !isBetween && stepped > low && stepped < high ? stepped : std::sqrt(low) * std::sqrt(high);
    if (!(middle > low && middle < high)) middle = low + 0.5f * (high - low);
  }
  gather(values, count, low, isSure ? high : std::numeric_limits<float>::infinity());
  comparisons_ += 2.0 * static_cast<double>(count);
  std::sort(near_.begin(), near_.end());
  double sum = isSure ? exactMassFrom(values, count, high) : 0.0;
  int64_t taken = 0;
  while (taken < static_cast<int64_t>(near_.size()) && ((fromHigh == 0 && taken == 0) || sum / total < wanted))
    sum -= static_cast<double>(near_[static_cast<size_t>(taken++)].first);
  const Cut found = cutAfter(taken, high, isSure ? fromHigh : 0);
  hint_ = found.value;
  if (isSure && low > 0 && fromLow > fromHigh)
    density_ = static_cast<double>(fromLow - fromHigh) / std::log(static_cast<double>(high) / static_cast<double>(low)) /
               static_cast<double>(count);
  return found;
}

void RowSelection::gather(const float* values, int64_t count, float low, float high) {
  near_.clear();
  constexpr int64_t kLanes = 16;  // most blocks hold none
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    int32_t found = 0;
    for (int64_t l = 0; l < kLanes; ++l) found += (values[j + l] >= low ? 1 : 0) & (values[j + l] < high ? 1 : 0);
    for (int64_t l = 0; l < kLanes && found > 0; ++l) {
      if (!(values[j + l] >= low && values[j + l] < high)) continue;
      near_.emplace_back(-values[j + l], static_cast<int32_t>(j + l));
      --found;
    }
  }
  for (; j < count; ++j) {
    if (values[j] >= low && values[j] < high) near_.emplace_back(-values[j], static_cast<int32_t>(j));
  }
}

RowSelection::Cut RowSelection::cutAfter(int64_t taken, float high, int64_t above) const {
  if (taken == 0) return {high, std::numeric_limits<int64_t>::max(), above};
  const auto& [value, index] = near_[static_cast<size_t>(taken - 1)];
  return {-value, index, above + taken};
}

void appendKept(const float* values, int64_t count, const RowSelection::Cut& cut, int32_t first, std::vector<int32_t>& out) {
  constexpr int64_t kLanes = 16;
  const auto isKept = [&](int64_t j) { return values[j] > cut.value || (values[j] == cut.value && j <= cut.last); };
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    int32_t found = 0;
    for (int64_t l = 0; l < kLanes; ++l) found += values[j + l] >= cut.value ? 1 : 0;
    for (int64_t l = 0; l < kLanes && found > 0; ++l) {
      if (isKept(j + l)) out.push_back(first + static_cast<int32_t>(j + l));
    }
  }
  for (; j < count; ++j) {
    if (isKept(j)) out.push_back(first + static_cast<int32_t>(j));
  }
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
