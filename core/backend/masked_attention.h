#pragma once
// What Backend::maskedAttention takes: one head's Q, K, V in host memory, and for each query the keys that it sees. Everything is
// borrowed. Rows that see nothing give zeros.
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

struct MaskedRows {
  std::vector<float> logSumExp;  // [M]; minus infinity: the row sees nothing
  double pairs = 0;              // scores computed
  double keyRows = 0;            // rows of K and V read, once for each block of queries
};

}  // namespace headscope::core
