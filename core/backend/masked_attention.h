#pragma once
// What Backend::maskedAttention, chosenAttention and chosenTile take: one head's Q, K, V in host memory, and for each query the keys that
// it sees. Everything is borrowed. Rows that see nothing give zeros.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tensor/matrix.h"

namespace headscope::core {

/// Keys [first, end).
struct KeyRange {
  int64_t first = 0, end = 0;
  bool operator==(const KeyRange&) const = default;
};

/// Ranges of consecutive rows: row r has [begin[r], begin[r + 1]), ascending and disjoint.
struct RangeList {
  std::vector<KeyRange> ranges;
  std::vector<size_t> begin{0};
  void clear() {
    ranges.clear();
    begin.assign(1, 0);
  }
  int64_t rows() const { return static_cast<int64_t>(begin.size()) - 1; }
};

/// Keys and values wider than this are not for a device's maskedAttention.
inline constexpr int64_t kWidestMaskedHead = 256;

struct MaskedHead {
  ConstMatrixView query;  // [M, k]
  ConstMatrixView key;    // [N, k]
  ConstMatrixView value;  // [N, v]
  double scale = 1.0, softcap = 0.0;
  double slope = 0.0;    // of a linear bias: score -= slope |i - j|, after the cap
  int64_t firstRow = 0;  // i of query 0
};

/// Which keys a row attends to: all that it sees, or those of them that its own scores choose: the `keys` largest, or the smallest set
/// with at least `mass` of the softmax's mass. A tie goes to the earlier key.
struct KeyChoice {
  const RangeList* seen = nullptr;  // [M] rows
  int64_t keys = 0;                 // > 0: so many
  double mass = 0;                  // else, > 0: so much; else all
};

/// Sums over the keys that each row attends to, of exp(score) and of its square; minus infinity: none.
struct ChosenRows {
  std::vector<double> logSumExp, logSumSquares;  // [M]
  double kept = 0;                               // pairs attended to
  double pairs = 0;                              // scores computed
  double keyRows = 0;                            // rows of K read, once for each block of queries
};

struct MaskedRows {
  std::vector<float> logSumExp;  // [M]; minus infinity: the row sees nothing
  double pairs = 0;              // scores computed
  double keyRows = 0;            // rows of K and V read, once for each block of queries
};

}  // namespace headscope::core
