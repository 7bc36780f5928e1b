#pragma once
// FactoredMatrix: W = L^T R kept as its factors L [k, m] and R [k, n], as heads and adapters come: W_QK = W_Q W_K^T has L = W_Q^T,
// R = W_K^T; W_OV has L = W_V^T, R = W_O. Norms, singular values, singular vectors and products without forming m x n.
// It borrows: the memory behind the views must outlive it.
//
// FactorCore: what a spectrum needs of one factor, computed once and shared by every matrix the factor is part of (W_Q by W_Q
// itself, W_QK and each W_QK(offset)): its Gram matrix in double, the triangle R of its thin QR, how well conditioned it is.
//
// Routes (spectrum.h). Gram squares the condition of a single factor in double: an absolute error near 1e-8 of the product of
// the factors' norms, and a relative one of 1e-15 times the squared condition, whichever is less. Where that bound is above
// kGramTolerance of the largest value (factors that are rank-deficient and don't line up) the Householder route is taken.
// Costs: Gram k^2 (m + n) operations and an SVD of k x k; Householder twice that at a tenth of the rate.
#include <optional>
#include <vector>

#include "core/tensor/matrix.h"
#include "core/weights/dense.h"
#include "core/weights/spectrum.h"

namespace headscope::core {

inline constexpr double kGramTolerance = 1e-6;

struct FactorCore {
  int64_t width = 0;      // m
  DoubleMatrix gram;      // L L^T [k, k]
  DoubleMatrix triangle;  // R [k, k] with R^T R = gram
  double condition = 0;   // of R; infinite when rank-deficient
  double norm = 0;        // largest singular value, estimated from below within a few percent
  bool isFinite = true;   // false: NaN or infinite entries

  int64_t rank() const { return gram.rows; }
  double squaredNorm() const;  // Frobenius, squared
};

/// Costs k^2 m operations.
FactorCore factorCore(ConstMatrixView factor);
/// From a Gram matrix that is already there (of a product, or tiled).
FactorCore factorCore(DoubleMatrix gram, int64_t width);

/// Without triangle and condition: what fusedFromGrams needs.
FactorCore gramCore(DoubleMatrix gram, int64_t width);

/// Singular values of the factor itself by the Gram route; min(k, m) of them.
Spectrum factorSpectrum(const FactorCore& core);
/// The same from the Gram matrix' eigenvalues, descending; `count` of them.
Spectrum spectrumOfSquares(std::vector<double> eigenvalues, int64_t count);
/// How the values of a k x k core are found: Svd to 1e-15 of the largest; Eigen from its square, half the work, right to 4e-8.
enum class CoreValues { Svd, Eigen };
/// Singular values of L^T M R by the Gram route, M [k_l, k_r] (null: identity); at most min(k_l, k_r, m, n) of them.
/// The caller decides what to do where noise is above kGramTolerance.
Spectrum fusedSpectrum(const FactorCore& left, const FactorCore& right, const DoubleMatrix* middle = nullptr,
                       CoreValues values = CoreValues::Svd);

struct CorePair {
  const FactorCore *left, *right;
};
/// factorSpectrum, and fusedSpectrum with CoreValues::Eigen, of several: less time than one after the other (tridiagonal_values.h).
std::vector<Spectrum> factorSpectra(std::span<const FactorCore* const> cores);
std::vector<Spectrum> fusedSpectra(std::span<const CorePair> pairs, const DoubleMatrix* middle = nullptr);
/// fusedSpectra of cores without triangles: one is factored, and noise is the bound that no condition makes less. Where that bound
/// matters the caller completes the cores.
std::vector<Spectrum> fusedFromGrams(std::span<const CorePair> pairs);

/// Singular values by thin QR in double, of a factor [k, m], and of L^T M R.
Spectrum householderSpectrum(const DoubleMatrix& factor);
Spectrum householderSpectrum(const DoubleMatrix& left, const DoubleMatrix& right, const DoubleMatrix* middle = nullptr);
inline Spectrum householderSpectrum(ConstMatrixView factor) { return householderSpectrum(DoubleMatrix::from(factor)); }
inline Spectrum householderSpectrum(ConstMatrixView left, ConstMatrixView right) {
  return householderSpectrum(DoubleMatrix::from(left), DoubleMatrix::from(right));
}

/// True when the Gram route's spectrum is too coarse: by tolerance, or because an effective rank at `epsilons` depends on it.
bool needsHouseholder(const Spectrum& spectrum, std::span<const double> epsilons = {});

/// Singular triplets. Each left vector's largest |entry| is positive. Vectors of values in one group (nearEqualGroups) are one
/// basis of many.
struct SingularVectors {
  std::vector<double> sigma;    // [count]
  std::vector<int64_t> groups;  // [count]
  Matrix left;                  // [count, m]
  Matrix right;                 // [count, n]
};

class FactoredMatrix {
 public:
  /// W = L^T R; both have k rows.
  FactoredMatrix(ConstMatrixView left, ConstMatrixView right) : left_(left), right_(right) {}

  int64_t rows() const { return left_.cols; }
  int64_t cols() const { return right_.cols; }
  int64_t rank() const { return left_.rows; }  // bound k
  ConstMatrixView left() const { return left_; }
  ConstMatrixView right() const { return right_; }

  double frobenius() const;
  /// Route Gram escalates by itself where it is too coarse (default: Gram).
  Spectrum spectrum(SpectrumRoute route = SpectrumRoute::Gram) const;
  /// The first `count` triplets, fewer when the rank is less. By thin QR in double.
  SingularVectors vectors(int64_t count) const;
  /// x W for rows x [N, m]: [N, n].
  Matrix leftProduct(ConstMatrixView x) const;
  /// ||W V||_F of the product with another factored matrix (cols() == other.rows()), by k x k cores.
  double productFrobenius(const FactoredMatrix& other) const;
  /// W formed, [m, n]: for tests and small matrices.
  Matrix dense() const;

 private:
  ConstMatrixView left_, right_;  // [k, m], [k, n]
};

}  // namespace headscope::core
