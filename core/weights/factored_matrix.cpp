#include "core/weights/factored_matrix.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/weights/small_norms.h"
#include "core/weights/small_triangle.h"
#include "core/weights/symmetric_batch.h"

namespace headscope::core {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();

Spectrum notFinite(int64_t count) {
  Spectrum s;
  s.isFinite = false;
  s.noise = std::numeric_limits<double>::quiet_NaN();
  s.sigma.assign(static_cast<size_t>(count), std::numeric_limits<double>::quiet_NaN());
  return s;
}

/// Error of values that were taken as roots of a squared matrix's eigenvalues.
double squaringNoise(const std::vector<double>& sigma) { return sigma.empty() ? 0 : factorNoise(sigma.front(), sigma.back()); }

Spectrum fromCore(const DoubleMatrix& core, int64_t count) {
  Spectrum s;
  s.route = SpectrumRoute::Householder;
  s.sigma = singularValues(core);
  s.sigma.resize(static_cast<size_t>(std::min<int64_t>(count, s.count())));
  return s;
}

}  // namespace

double FactorCore::squaredNorm() const {
  double trace = 0;
  for (int64_t i = 0; i < gram.rows; ++i) trace += gram(i, i);
  return trace;
}

FactorCore gramCore(DoubleMatrix g, int64_t width) {
  FactorCore core;
  core.width = width;
  core.isFinite = isAllFinite(g);
  core.gram = std::move(g);
  core.condition = std::numeric_limits<double>::infinity();
  if (core.isFinite) core.norm = std::sqrt(largestEigenvalue(core.gram));
  return core;
}

FactorCore factorCore(DoubleMatrix g, int64_t width) {
  FactorCore core = gramCore(std::move(g), width);
  if (core.isFinite) core.triangle = choleskyFactor(core.gram, &core.condition);
  return core;
}

FactorCore factorCore(ConstMatrixView factor) { return factorCore(gram(factor), factor.cols); }

Spectrum spectrumOfSquares(std::vector<double> eigenvalues, int64_t count) {
  Spectrum s;
  s.sigma = std::move(eigenvalues);
  s.sigma.resize(static_cast<size_t>(count));
  for (double& v : s.sigma) v = v > 0 ? std::sqrt(v) : 0.0;
  s.noise = squaringNoise(s.sigma);
  return s;
}

Spectrum factorSpectrum(const FactorCore& core) {
  const FactorCore* const one[] = {&core};
  return std::move(factorSpectra(one).front());
}

std::vector<Spectrum> factorSpectra(std::span<const FactorCore* const> cores) {
  const auto countOf = [](const FactorCore& core) { return std::min(core.rank(), core.width); };
  std::vector<Spectrum> out(cores.size());
  SymmetricBatch squares;
  for (const FactorCore* core : cores) {
    if (core->isFinite) squares.add(core->gram);
  }
  std::vector<std::vector<double>> values = squares.values();
  size_t next = 0;
  for (size_t i = 0; i < cores.size(); ++i) {
    out[i] = cores[i]->isFinite ? spectrumOfSquares(std::move(values[next++]), countOf(*cores[i])) : notFinite(countOf(*cores[i]));
  }
  return out;
}

namespace {

int64_t fusedCount(const CorePair& pair) {
  return std::min(std::min(pair.left->rank(), pair.right->rank()), std::min(pair.left->width, pair.right->width));
}

/// By the eigenvalues of what squareOf makes of each pair: the square of its core.
template <typename SquareOf>
std::vector<Spectrum> spectraOfSquares(std::span<const CorePair> pairs, const SquareOf& squareOf) {
  std::vector<Spectrum> out(pairs.size());
  SymmetricBatch squares;
  for (const CorePair& pair : pairs) {
    if (pair.left->isFinite && pair.right->isFinite) squares.add(squareOf(pair));
  }
  std::vector<std::vector<double>> values = squares.values();
  size_t next = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const FactorCore &left = *pairs[i].left, &right = *pairs[i].right;
    if (!left.isFinite || !right.isFinite) {
      out[i] = notFinite(fusedCount(pairs[i]));
      continue;
    }
    out[i] = spectrumOfSquares(std::move(values[next++]), fusedCount(pairs[i]));
    out[i].noise += fusedNoise(out[i].largest(), left.condition, right.condition, left.norm, right.norm);
  }
  return out;
}

}  // namespace

std::vector<Spectrum> fusedFromGrams(std::span<const CorePair> pairs) {
  return spectraOfSquares(pairs, [](const CorePair& p) { return turnedByTriangle(choleskyFactor(p.left->gram), p.right->gram); });
}

std::vector<Spectrum> fusedSpectra(std::span<const CorePair> pairs, const DoubleMatrix* middle) {
  return spectraOfSquares(pairs, [&](const CorePair& p) {  // R_l (M R_r^T R_r M^T) R_l^T
    return turnedByTriangle(p.left->triangle,
                            middle != nullptr ? multiplyTransposed(multiply(*middle, p.right->gram), *middle) : p.right->gram);
  });
}

Spectrum fusedSpectrum(const FactorCore& left, const FactorCore& right, const DoubleMatrix* middle, CoreValues values) {
  const CorePair pair{&left, &right};
  if (values == CoreValues::Eigen) return std::move(fusedSpectra({&pair, 1}, middle).front());
  const int64_t count = fusedCount(pair);
  if (!left.isFinite || !right.isFinite) return notFinite(count);
  // L^T M R = Q_l (R_l M R_r^T) Q_r^T
  Spectrum s = fromCore(multiplyTransposed(middle != nullptr ? multiply(left.triangle, *middle) : left.triangle, right.triangle), count);
  s.route = SpectrumRoute::Gram;
  s.noise = fusedNoise(s.largest(), left.condition, right.condition, left.norm, right.norm);
  return s;
}

Spectrum householderSpectrum(const DoubleMatrix& factor) {
  const int64_t count = std::min(factor.rows, factor.cols);
  if (!isAllFinite(factor)) return notFinite(count);
  Spectrum s = fromCore(thinQrR(factor), count);
  s.noise = 8 * kEps * s.largest();
  return s;
}

Spectrum householderSpectrum(const DoubleMatrix& left, const DoubleMatrix& right, const DoubleMatrix* middle) {
  const int64_t count = std::min(std::min(left.rows, right.rows), std::min(left.cols, right.cols));
  if (!isAllFinite(left) || !isAllFinite(right)) return notFinite(count);
  const DoubleMatrix rl = thinQrR(left), rr = thinQrR(right);
  Spectrum s = fromCore(multiplyTransposed(middle != nullptr ? multiply(rl, *middle) : rl, rr), count);
  s.noise = 8 * kEps * std::sqrt(innerProduct(rl, rl) * innerProduct(rr, rr));
  return s;
}

bool needsHouseholder(const Spectrum& spectrum, std::span<const double> epsilons) {
  if (!spectrum.isFinite || spectrum.route == SpectrumRoute::Householder || spectrum.noise <= 0) return false;
  if (spectrum.noise > kGramTolerance * spectrum.largest()) return true;
  return std::any_of(epsilons.begin(), epsilons.end(), [&](double e) { return rankDependsOnNoise(spectrum, e); });
}

double FactoredMatrix::frobenius() const { return std::sqrt(std::max(0.0, innerProduct(gram(left_), gram(right_)))); }

Spectrum FactoredMatrix::spectrum(SpectrumRoute route) const {
  if (route == SpectrumRoute::Gram) {
    Spectrum s = fusedSpectrum(factorCore(left_), factorCore(right_));
    const double epsilons[] = {0.01, 0.001};
    if (!needsHouseholder(s, epsilons)) return s;
  }
  return householderSpectrum(left_, right_);
}

SingularVectors FactoredMatrix::vectors(int64_t count) const {
  const ThinQr left = thinQr(left_), right = thinQr(right_);
  SmallSvd svd = smallSvd(multiplyTransposed(left.triangle, right.triangle));
  count = std::min<int64_t>(count, static_cast<int64_t>(svd.sigma.size()));
  svd.sigma.resize(static_cast<size_t>(count));
  const auto firstRows = [&](const DoubleMatrix& a) {
    DoubleMatrix b(count, a.cols);
    std::copy_n(a.data(), b.values.size(), b.data());
    return b;
  };
  DoubleMatrix u = multiply(firstRows(svd.left), left.basis), v = multiply(firstRows(svd.right), right.basis);
  for (int64_t i = 0; i < count; ++i) {
    const double* peak = std::max_element(u.row(i), u.row(i) + u.cols, [](double a, double b) { return std::abs(a) < std::abs(b); });
    if (u.cols == 0 || *peak >= 0) continue;
    for (int64_t c = 0; c < u.cols; ++c) u(i, c) = -u(i, c);
    for (int64_t c = 0; c < v.cols; ++c) v(i, c) = -v(i, c);
  }
  SingularVectors out;
  out.groups = nearEqualGroups(svd.sigma);
  out.sigma = std::move(svd.sigma);
  out.left = u.toFloat();
  out.right = v.toFloat();
  return out;
}

Matrix FactoredMatrix::leftProduct(ConstMatrixView x) const {
  Matrix inner = Matrix::zeros(x.rows, rank()), out = Matrix::zeros(x.rows, cols());
  if (x.rows == 0 || rank() == 0 || cols() == 0) return out;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows), static_cast<int>(rank()), static_cast<int>(x.cols), 1.0F,
              x.data, static_cast<int>(x.stride), left_.data, static_cast<int>(left_.stride), 0.0F, inner.data(), static_cast<int>(rank()));
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(x.rows), static_cast<int>(cols()), static_cast<int>(rank()), 1.0F,
              inner.data(), static_cast<int>(rank()), right_.data, static_cast<int>(right_.stride), 0.0F, out.data(),
              static_cast<int>(cols()));
  return out;
}

double FactoredMatrix::productFrobenius(const FactoredMatrix& other) const {
  // ||L^T (R L') R'||_F = ||R_l (R L'^T) R_r'^T||_F
  const DoubleMatrix inner = multiplyTransposed(DoubleMatrix::from(right_), DoubleMatrix::from(other.left_));
  const DoubleMatrix core = multiplyTransposed(multiply(thinQrR(left_), inner), thinQrR(other.right_));
  return std::sqrt(innerProduct(core, core));
}

Matrix FactoredMatrix::dense() const { return transposedMultiply(DoubleMatrix::from(left_), DoubleMatrix::from(right_)).toFloat(); }

}  // namespace headscope::core
