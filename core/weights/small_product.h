#pragma once
// SmallProduct: C = factor A B, or C += factor A B, of matrices of some hundred rows in double, kept in the caches. A BLAS packs both
// operands and knows no product whose result is symmetric by what it is made of; here only B is packed, a panel of 16 columns at a time,
// tiles below the diagonal are left out where they are not asked for, and so are the zeros of triangular operands. Single-threaded.
// Costs 2 m n k operations, a half with isUpper, less with triangles.
#include <cstdint>

#include "core/weights/dense.h"

namespace headscope::core {

/// A matrix that is read: entry (r, c) at data[r * rowStride + c * colStride], one of the strides 1.
struct SmallOperand {
  const double* data;
  int64_t rows, cols, rowStride, colStride;

  static SmallOperand of(const DoubleMatrix& a) { return {a.data(), a.rows, a.cols, a.cols, 1}; }
  static SmallOperand transposeOf(const DoubleMatrix& a) { return {a.data(), a.cols, a.rows, 1, a.cols}; }
};

struct SmallProduct {
  SmallOperand a, b;  // [m, k], [k, n]
  double factor = 1;
  bool isAdded = false;   // to what C holds
  bool isUpper = false;   // entries on and above the diagonal; what is below is left undefined
  bool aIsUpper = false;  // A has zeros below its diagonal: they are not read in whole
  bool bIsLower = false;  // B has zeros above its diagonal

  /// c [m, n], rows `stride` apart, not an operand.
  void into(double* c, int64_t stride) const;
  void into(DoubleMatrix& c) const { into(c.data(), c.cols); }
};

/// G += A B + (A B)^T, G symmetric [n, n], A [n, r], B [r, n]: 2 n^2 r operations.
void addWithTranspose(const DoubleMatrix& a, const DoubleMatrix& b, DoubleMatrix& g);
/// C^T G C, G symmetric [k, k], C [k, r].
DoubleMatrix within(const DoubleMatrix& c, const DoubleMatrix& g);
/// Copies what is above the diagonal below it.
void mirrorBelow(DoubleMatrix& a);

}  // namespace headscope::core
