#include "core/mechanisms/rotation.h"

#include <cmath>

namespace headscope::core {
namespace {

Matrix turned(ConstMatrixView x, const RopeSpec& rope, int64_t first, bool isInverse) {
  Matrix out(x.rows, x.cols);
  const int64_t half = rope.dims / 2;
  const double magnitude = isInverse ? 1.0 / rope.magnitude : rope.magnitude;
  for (int64_t m = 0; m < x.rows; ++m) {
    std::memcpy(out.row(m), x.row(m), static_cast<size_t>(x.cols) * sizeof(float));
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(m) * rope.frequencies[static_cast<size_t>(i)] * (isInverse ? -1.0 : 1.0);
      const double c = std::cos(angle) * magnitude, s = std::sin(angle) * magnitude;
      const int64_t a = first + (rope.isInterleaved ? 2 * i : i), b = rope.isInterleaved ? a + 1 : a + half;
      const double p = static_cast<double>(x(m, a)), q = static_cast<double>(x(m, b));
      out(m, a) = static_cast<float>(p * c - q * s);
      out(m, b) = static_cast<float>(p * s + q * c);
    }
  }
  return out;
}

}  // namespace

Matrix rotated(ConstMatrixView x, const RopeSpec& rope, int64_t first) { return turned(x, rope, first, false); }
Matrix unrotated(ConstMatrixView x, const RopeSpec& rope, int64_t first) { return turned(x, rope, first, true); }

}  // namespace headscope::core
