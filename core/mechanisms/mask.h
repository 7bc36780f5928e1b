#pragma once
// Mask: which keys each query sees, as sorted disjoint key ranges a row. It is never a matrix: a row costs its ranges.
//
// Masks whose choice depends on the scores (top-k, clusters) override blockRanges and choose for a block of rows at once.
// Immutable and thread-safe.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/backend/masked_attention.h"
#include "core/base/job.h"
#include "core/mechanisms/mechanism.h"

namespace headscope::core {

enum class BlockState : uint8_t { Empty, Partial, Full };

class Mask {
 public:
  explicit Mask(int64_t size) : size_(size) {}
  virtual ~Mask() = default;
  int64_t size() const { return size_; }  // N

  /// Appends the ranges of row `row`: sorted, disjoint, not touching, inside [0, N).
  virtual void ranges(int64_t row, std::vector<KeyRange>& out) const = 0;
  /// Ranges of rows [first, first + count).
  virtual void blockRanges(int64_t first, int64_t count, RangeList& out) const;
  /// Operations that choosing one row's keys takes; 0 where the pattern is fixed.
  virtual double selectionOperations(int64_t row) const;

  /// How much of rows [row, row + rows) x keys [key, key + keys) is seen.
  BlockState block(int64_t row, int64_t rows, int64_t key, int64_t keys) const;
  bool sees(int64_t row, int64_t key) const;
  /// Number of seen pairs; costs all ranges.
  int64_t pairs() const;

 private:
  int64_t size_;
};

/// What a model lets each query see by itself: everything, or what is not later, or a sliding window of that.
struct Visibility {
  int64_t size = 0;
  bool isCausal = true;
  int64_t window = 0;  // keys, the query's own included (on both sides when not causal); 0: no window

  explicit Visibility(const HeadInput& input) : size(input.count()), isCausal(input.isCausal), window(input.window) {}
  Visibility(int64_t n, bool causal, int64_t slidingWindow = 0) : size(n), isCausal(causal), window(slidingWindow) {}
  KeyRange row(int64_t query) const;
};

/// A fixed pattern cut to what the model lets a query see.
class PatternMask : public Mask {
 public:
  /// Appends sorted ranges of a row, which may reach over the ends or overlap.
  using Pattern = std::function<void(int64_t row, std::vector<KeyRange>& out)>;
  /// pattern empty: the visibility alone.
  PatternMask(Visibility visibility, Pattern pattern) : Mask(visibility.size), visibility_(visibility), pattern_(std::move(pattern)) {}
  void ranges(int64_t row, std::vector<KeyRange>& out) const override;

 private:
  Visibility visibility_;
  Pattern pattern_;
};

}  // namespace headscope::core
