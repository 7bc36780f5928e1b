#pragma once
// Small dense matrices in double and the decompositions that spectra need: the k x k cores of factored matrices, Gram matrices,
// thin QR. All single-threaded (callers run many side by side) except gram() of a tall stack, which says so.
#include <cstdint>
#include <vector>

#include "core/tensor/matrix.h"

namespace headscope::core {

class Job;

/// Row-major matrix in double, zero when made.
struct DoubleMatrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values;  // [rows, cols]

  DoubleMatrix() = default;
  DoubleMatrix(int64_t r, int64_t c) : rows(r), cols(c), values(static_cast<size_t>(r * c), 0.0) {}
  static DoubleMatrix identity(int64_t n);
  static DoubleMatrix from(ConstMatrixView source);

  double* data() { return values.data(); }
  const double* data() const { return values.data(); }
  double* row(int64_t r) { return values.data() + r * cols; }
  const double* row(int64_t r) const { return values.data() + r * cols; }
  double& operator()(int64_t r, int64_t c) { return values[static_cast<size_t>(r * cols + c)]; }
  double operator()(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * cols + c)]; }
  DoubleMatrix transposed() const;
  Matrix toFloat() const;
};

/// A B, A B^T, A^T B.
DoubleMatrix multiply(const DoubleMatrix& a, const DoubleMatrix& b);            // [m, k] [k, n]
DoubleMatrix multiplyTransposed(const DoubleMatrix& a, const DoubleMatrix& b);  // [m, k] [n, k]
DoubleMatrix transposedMultiply(const DoubleMatrix& a, const DoubleMatrix& b);  // [k, m] [k, n]
/// sum_ij a_ij b_ij of matrices of one shape.
double innerProduct(const DoubleMatrix& a, const DoubleMatrix& b);
double frobeniusNorm(ConstMatrixView a);

/// F F^T of F [k, m], accumulated in double: [k, k], symmetric. k^2 m operations.
DoubleMatrix gram(ConstMatrixView factor);
/// A B^T of A [k, m], B [r, m], accumulated in double: [k, r].
DoubleMatrix crossGram(ConstMatrixView a, ConstMatrixView b);
/// gram() for large k (more than a few hundred rows), tiles split over the pool.
DoubleMatrix gramTiled(ConstMatrixView factor, const Job* job);

/// R upper triangular with R^T R = G, G symmetric positive semi-definite [k, k]. A semi-definite or noisy G is shifted by the
/// least multiple of its rounding error that makes it definite, which moves R^T R by about 1e-14 of G's largest entry.
/// `condition` (when given) receives an estimate of R's 1-norm condition number; infinite after a shift. G = 0 gives R = 0.
DoubleMatrix choleskyFactor(const DoubleMatrix& g, double* condition = nullptr);

/// Eigenvalues of a symmetric matrix, descending. Of several: symmetric_batch.h.
std::vector<double> symmetricEigenvalues(DoubleMatrix a);
/// The same with eigenvectors as rows of `vectors` [n, n], in the same order.
std::vector<double> symmetricEigen(DoubleMatrix a, DoubleMatrix& vectors);

/// Singular values, descending, min(m, n) of them.
std::vector<double> singularValues(DoubleMatrix a);

/// Thin SVD a = U diag(s) V^T: u's and v's ROWS are the singular vectors.
struct SmallSvd {
  std::vector<double> sigma;  // [r], descending
  DoubleMatrix left;          // [r, m]
  DoubleMatrix right;         // [r, n]
};
SmallSvd smallSvd(DoubleMatrix a);

/// R [min(k, m), k] of a thin Householder QR of F^T (F [k, m]), in double: F^T = Q R.
DoubleMatrix thinQrR(DoubleMatrix factor);
inline DoubleMatrix thinQrR(ConstMatrixView factor) { return thinQrR(DoubleMatrix::from(factor)); }
/// The same with Q^T [min(k, m), m] (orthonormal rows).
struct ThinQr {
  DoubleMatrix basis;     // Q^T [p, m], p = min(k, m)
  DoubleMatrix triangle;  // R [p, k]
};
ThinQr thinQr(const DoubleMatrix& factor);
inline ThinQr thinQr(ConstMatrixView factor) { return thinQr(DoubleMatrix::from(factor)); }

}  // namespace headscope::core
