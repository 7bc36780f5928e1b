#pragma once
// Segments: N tokens in m consecutive parts of floor(N/m) or ceil(N/m), longer ones first, so that no part holds padding.
#include <algorithm>
#include <cstdint>

#include "core/tensor/matrix.h"

namespace headscope::core {

struct Segments {
  int64_t count, parts;
  /// parts is cut to count: no part is empty.
  Segments(int64_t n, int64_t m) : count(n), parts(std::max<int64_t>(1, std::min(n, m))) {}
  int64_t begin(int64_t part) const { return part * (count / parts) + std::min(part, count % parts); }
  int64_t length(int64_t part) const { return begin(part + 1) - begin(part); }
  int64_t of(int64_t token) const {
    const int64_t q = count / parts, longer = count % parts;
    return token < longer * (q + 1) ? token / (q + 1) : longer + (token - longer * (q + 1)) / q;
  }
  /// Means of each part's rows: [parts, cols].
  Matrix means(ConstMatrixView rows) const {
    Matrix out = Matrix::zeros(parts, rows.cols);
    for (int64_t p = 0; p < parts; ++p) {
      for (int64_t i = begin(p); i < begin(p + 1); ++i) {
        for (int64_t c = 0; c < rows.cols; ++c) out(p, c) += rows(i, c);
      }
      const float share = 1.0f / static_cast<float>(length(p));
      for (int64_t c = 0; c < rows.cols; ++c) out(p, c) *= share;
    }
    return out;
  }
};

}  // namespace headscope::core
