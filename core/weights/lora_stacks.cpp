#include "core/weights/lora_stacks.h"

#include <cmath>

#include "core/weights/small_product.h"

namespace headscope::core {
namespace {

/// [a s^2, b s t; (b s t)^T, c t^2], a and c symmetric.
DoubleMatrix blocks(const DoubleMatrix& a, const DoubleMatrix& b, const DoubleMatrix& c, double s, double t) {
  const int64_t n = a.rows, m = c.rows;
  DoubleMatrix out(n + m, n + m);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) out(i, j) = a(i, j) * s * s;
    for (int64_t j = 0; j < m; ++j) out(i, n + j) = b(i, j) * s * t;
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < m; ++j) out(n + i, n + j) = c(i, j) * t * t;
  }
  mirrorBelow(out);
  return out;
}

double trace(const DoubleMatrix& a) {
  double sum = 0;
  for (int64_t i = 0; i < a.rows; ++i) sum += a(i, i);
  return sum;
}

double balance(double left, double right) { return left > 0 && right > 0 ? std::pow(right / left, 0.25) : 1.0; }

}  // namespace

LoraStacks::LoraStacks(const HeadSide& a, const HeadSide& b) {
  leftSecond = within(b.coefficients, a.core.gram);
  rightBase = within(a.coefficients, b.core.gram);
  middle = transposedMultiply(a.coefficients, b.coefficients);
  middleEnd = multiply(middle, b.directionGram);
  // F_b,after F_b,after^T as in HeadSide::finish, seen through C_a: M H + (M H)^T more than before, M = C_a^T C_b
  DoubleMatrix half = multiply(b.cross, a.coefficients), meeting = half.transposed(), rightFirst = rightBase;
  const DoubleMatrix end = middleEnd.transposed();
  for (size_t i = 0; i < half.values.size(); ++i) half.values[i] += end.values[i] / 2;
  addWithTranspose(middle, half, rightFirst);
  // C_a^T F_b,after D_b^T = C_a^T F_b D_b^T + M D_b D_b^T
  for (size_t i = 0; i < meeting.values.size(); ++i) meeting.values[i] += middleEnd.values[i];
  firstScale = balance(trace(a.directionGram), trace(rightFirst));
  secondScale = balance(trace(leftSecond), trace(b.directionGram));
  left = blocks(a.directionGram, multiply(a.cross, b.coefficients), leftSecond, firstScale, secondScale);
  right = blocks(rightFirst, meeting, b.directionGram, 1 / firstScale, 1 / secondScale);
}

}  // namespace headscope::core
