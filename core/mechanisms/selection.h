#pragma once
// SelectionMask: keys chosen row by row from the exact scores: the k largest, or the smallest set whose mass reaches p. Every
// visible score is computed to choose, 64 rows at a time, so only reads of V are saved; a tie goes to the earlier key.
#include "core/mechanisms/mask.h"
#include "core/mechanisms/row_order.h"

namespace headscope::core {

class SelectionMask : public Mask {
 public:
  struct Rule {
    int64_t keys = 0;  // > 0: this many largest
    double mass = 0;   // otherwise: smallest set with at least this share
  };
  /// Borrows the input's queries and keys.
  SelectionMask(const HeadInput& input, Rule rule);
  void ranges(int64_t row, std::vector<KeyRange>& out) const override;
  void blockRanges(int64_t first, int64_t count, RangeList& out) const override;
  double selectionOperations(int64_t row) const override;

 private:
  void choose(const float* scores, KeyRange visible, RowOrder& order, std::vector<KeyRange>& out) const;
  ConstMatrixView query_, key_;  // [N, k]
  double scale_, softcap_;
  Visibility visibility_;
  Rule rule_;
};

}  // namespace headscope::core
