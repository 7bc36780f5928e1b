#pragma once
// SelectionMask: keys chosen row by row from the exact scores: the k largest, or the smallest set whose mass reaches p. Every
// visible score is computed to choose, 64 rows at a time, so only reads of V are saved; a tie goes to the earlier key. The
// chosen set is found by narrowing an interval of values that holds its last member, from where the row before was cut, which passes
// over a row two to four times without sorting it.
#include <utility>
#include <vector>

#include "core/mechanisms/mask.h"

namespace headscope::core {

/// Which of a row's scores are kept.
struct SelectionRule {
  int64_t keys = 0;  // > 0: this many largest
  double mass = 0;   // otherwise: smallest set with at least this share of the softmax's mass
};

/// Chooses from rows of scores; keeps its buffers and where the last row was cut, from which the next one's search starts.
class RowSelection {
 public:
  /// Kept are the values above `value`, and those equal to it up to index `last`.
  struct Cut {
    float value = 0;
    int64_t last = 0;
    int64_t kept = 0;  // how many
  };

  explicit RowSelection(SelectionRule rule) : rule_(rule) {}
  /// The cut of this row. Where a mass is asked for, the scores are replaced by exp(score - largest).
  Cut cut(float* scores, int64_t count);
  /// Indices of the kept scores, ascending.
  const std::vector<int32_t>& choose(const float* scores, int64_t count);
  double comparisons() const { return comparisons_; }  // and additions of masses, over all rows so far

 private:
  Cut keepLargest(const float* values, int64_t count, int64_t keys);
  Cut keepMass(const float* values, int64_t count);
  /// near_: what lies in [low, high).
  void gather(const float* values, int64_t count, float low, float high);
  /// What is larger than the last taken of near_ (sorted), or equal and not after it; none taken: from high on.
  Cut cutAfter(int64_t taken, float high, int64_t above) const;
  SelectionRule rule_;
  std::vector<std::pair<float, int32_t>> near_;  // candidates about the last member: weight, index
  std::vector<int32_t> chosen_;
  std::vector<float> copy_;
  float hint_ = 0.0f;     // the last row's cut: a weight, or how far under the row's largest score
  double density_ = 0.1;  // share of the last row's weights in a factor of e about its cut
  double comparisons_ = 0;
};

/// Indices of values that the cut keeps, ascending, shifted by `first`.
void appendKept(const float* values, int64_t count, const RowSelection::Cut& cut, int32_t first, std::vector<int32_t>& out);

class SelectionMask : public Mask {
 public:
  using Rule = SelectionRule;
  /// Borrows the input's queries and keys.
  SelectionMask(const HeadInput& input, Rule rule);
  void ranges(int64_t row, std::vector<KeyRange>& out) const override;
  void blockRanges(int64_t first, int64_t count, RangeList& out) const override;
  double selectionOperations(int64_t row) const override;

 private:
  ConstMatrixView query_, key_;  // [N, k]
  double scale_, softcap_;
  Visibility visibility_;
  Rule rule_;
};

}  // namespace headscope::core
