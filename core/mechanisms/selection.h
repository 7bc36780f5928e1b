#pragma once
// SelectionMask: keys chosen row by row from the exact scores: the k largest, or the smallest set whose mass reaches p. Every
// visible score is computed to choose, 64 rows at a time, so only reads of V are saved; a tie goes to the earlier key. The
// chosen set is found by halving the interval of values that holds its last member, which passes over a row a few times
// without sorting it.
#include "core/mechanisms/mask.h"

namespace headscope::core {

/// Which of a row's scores are kept.
struct SelectionRule {
  int64_t keys = 0;  // > 0: this many largest
  double mass = 0;   // otherwise: smallest set with at least this share of the softmax's mass
};

/// Chooses from rows of scores; keeps its buffers between rows.
class RowSelection {
 public:
  explicit RowSelection(SelectionRule rule) : rule_(rule) {}
  /// Indices of the kept scores, ascending. weights(): exp(score - largest) of every score of this row afterwards.
  const std::vector<int32_t>& choose(const float* scores, int64_t count);
  const std::vector<float>& weights() const { return weights_; }
  double comparisons() const { return comparisons_; }  // and additions of masses, over all rows so far

 private:
  void keepLargest(int64_t keys);
  void keepMass();
  /// near_: what lies in [low, high).
  void gather(float low, float high);
  /// chosen_: what is larger than the last taken of near_ (sorted), or equal and not after it; none taken: from high on.
  void keepThrough(int64_t taken, float high);
  SelectionRule rule_;
  std::vector<float> weights_;
  std::vector<std::pair<float, int32_t>> near_;  // candidates about the last member: weight, index
  std::vector<int32_t> chosen_, indices_;
  double comparisons_ = 0;
};

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
