#include "core/weights/dense.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/base/error.h"
#include "core/base/parallel.h"
#include "core/tensor/turn_over.h"
#include "core/weights/lapack.h"
#include "core/weights/row_panels.h"
#include "core/weights/small_product.h"
#include "core/weights/small_triangle.h"
#include "core/weights/symmetric_batch.h"

namespace headscope::core {
namespace {

using lapack::asInt, lapack::require;

constexpr int64_t kSmall = 320;  // above, the blocks of BLAS and LAPACK are as quick

/// Columns [first, first + count) of `source` in double, [rows, count].
void widen(ConstMatrixView source, int64_t first, int64_t count, double* target) {
  for (int64_t r = 0; r < source.rows; ++r) {
    const float* from = source.row(r) + first;
    double* to = target + r * count;
    for (int64_t c = 0; c < count; ++c) to[c] = from[c];
  }
}

}  // namespace

DoubleMatrix DoubleMatrix::identity(int64_t n) {
  DoubleMatrix a(n, n);
  for (int64_t i = 0; i < n; ++i) a(i, i) = 1.0;
  return a;
}

DoubleMatrix DoubleMatrix::from(ConstMatrixView source) {
  DoubleMatrix a(source.rows, source.cols);
  widen(source, 0, source.cols, a.data());
  return a;
}

DoubleMatrix DoubleMatrix::transposed() const {
  DoubleMatrix a(cols, rows);
  if (!values.empty()) turnOver(data(), rows, cols, cols, a.data(), rows);
  return a;
}

Matrix DoubleMatrix::toFloat() const {
  Matrix m(rows, cols);
  for (int64_t i = 0; i < rows * cols; ++i) m.data()[i] = static_cast<float>(values[static_cast<size_t>(i)]);
  return m;
}

DoubleMatrix multiply(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix c(a.rows, b.cols);
  if (a.rows == 0 || b.cols == 0 || a.cols == 0) return c;
  if (std::max({a.rows, b.cols, a.cols}) <= kSmall) {
    SmallProduct{.a = SmallOperand::of(a), .b = SmallOperand::of(b)}.into(c);
    return c;
  }
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, asInt(a.rows), asInt(b.cols), asInt(a.cols), 1.0, a.data(), asInt(a.cols),
              b.data(), asInt(b.cols), 0.0, c.data(), asInt(c.cols));
  return c;
}

DoubleMatrix multiplyTransposed(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix c(a.rows, b.rows);
  if (a.rows == 0 || b.rows == 0 || a.cols == 0) return c;
  if (std::max({a.rows, b.rows, a.cols}) <= kSmall) {
    SmallProduct{.a = SmallOperand::of(a), .b = SmallOperand::transposeOf(b)}.into(c);
    return c;
  }
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, asInt(a.rows), asInt(b.rows), asInt(a.cols), 1.0, a.data(), asInt(a.cols), b.data(),
              asInt(b.cols), 0.0, c.data(), asInt(c.cols));
  return c;
}

DoubleMatrix transposedMultiply(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix c(a.cols, b.cols);
  if (a.cols == 0 || b.cols == 0 || a.rows == 0) return c;
  if (std::max({a.cols, b.cols, a.rows}) <= kSmall) {
    SmallProduct{.a = SmallOperand::transposeOf(a), .b = SmallOperand::of(b)}.into(c);
    return c;
  }
  cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, asInt(a.cols), asInt(b.cols), asInt(a.rows), 1.0, a.data(), asInt(a.cols), b.data(),
              asInt(b.cols), 0.0, c.data(), asInt(c.cols));
  return c;
}

double frobeniusNorm(ConstMatrixView a) {
  double sum = 0;
  for (int64_t r = 0; r < a.rows; ++r) {
    const float* row = a.row(r);
    double part = 0;
    for (int64_t c = 0; c < a.cols; ++c) part += static_cast<double>(row[c]) * row[c];
    sum += part;
  }
  return std::sqrt(sum);
}

DoubleMatrix gram(ConstMatrixView factor) {
  DoubleMatrix g(factor.rows, factor.rows);
  RowPanels panels(factor.rows);
  for (int64_t first = 0; first < factor.cols; first += RowPanels::kColumns) {
    panels.pack(factor.colsFrom(first, std::min(RowPanels::kColumns, factor.cols - first)));
    addGram(panels, g);
  }
  mirrorBelow(g);
  return g;
}

DoubleMatrix crossGram(ConstMatrixView a, ConstMatrixView b) {
  DoubleMatrix g(a.rows, b.rows);
  RowPanels left(a.rows), right(b.rows);
  for (int64_t first = 0; first < a.cols; first += RowPanels::kColumns) {
    const int64_t count = std::min(RowPanels::kColumns, a.cols - first);
    left.pack(a.colsFrom(first, count));
    right.pack(b.colsFrom(first, count));
    addCross(left, right, g);
  }
  return g;
}

DoubleMatrix gramTiled(ConstMatrixView factor, const Job* job) {
  constexpr int64_t kTile = 256;
  const int64_t k = factor.rows, tiles = (k + kTile - 1) / kTile;
  if (tiles <= 1) return gram(factor);
  DoubleMatrix g(k, k);
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (int64_t i = 0; i < tiles; ++i) {
    for (int64_t j = i; j < tiles; ++j) pairs.emplace_back(i * kTile, j * kTile);
  }
  parallelFor(
      static_cast<int64_t>(pairs.size()),
      [&](int64_t p) {
        const auto [i, j] = pairs[static_cast<size_t>(p)];
        const ConstMatrixView a = factor.rowsFrom(i, std::min(kTile, k - i)), b = factor.rowsFrom(j, std::min(kTile, k - j));
        const DoubleMatrix part = i == j ? gram(a) : crossGram(a, b);
        for (int64_t r = 0; r < part.rows; ++r) std::copy_n(part.row(r), part.cols, g.row(i + r) + j);
      },
      job);
  mirrorBelow(g);
  return g;
}

DoubleMatrix choleskyFactor(const DoubleMatrix& g, double* condition) {
  const int n = asInt(g.rows);
  double largest = 0;
  for (int64_t i = 0; i < g.rows; ++i) largest = std::max(largest, g(i, i));
  if (condition != nullptr) *condition = std::numeric_limits<double>::infinity();
  if (n == 0 || largest <= 0 || !std::isfinite(largest)) return DoubleMatrix(g.rows, g.cols);
  DoubleMatrix r;
  int info = 1;
  bool isShifted = false;
  // Row-major upper is column-major lower: L L^T = G with L = R^T.
  for (double shift = 0; info != 0; shift = shift == 0 ? 2e-16 * largest * std::sqrt(double(n)) : shift * 4) {
    r = g;
    for (int64_t i = 0; i < g.rows; ++i) r(i, i) += shift;
    isShifted = shift > 0;
    if (n <= kSmall) {
      info = factorToTriangle(r) ? 0 : 1;
    } else {
      dpotrf_("L", &n, r.data(), &n, &info);
    }
    if (info < 0 || shift > largest) require(info, "dpotrf");
  }
  for (int64_t i = 1; i < g.rows; ++i) std::fill_n(r.row(i), i, 0.0);
  if (condition != nullptr && !isShifted) {
    std::vector<double> work(3 * static_cast<size_t>(n));
    std::vector<int> iwork(static_cast<size_t>(n));
    double reciprocal = 0;
    dtrcon_("1", "L", "N", &n, r.data(), &n, &reciprocal, work.data(), iwork.data(), &info);
    if (reciprocal > 0) *condition = 1.0 / reciprocal;
  }
  return r;
}

std::vector<double> symmetricEigen(DoubleMatrix a, DoubleMatrix& vectors) {
  const int n = asInt(a.rows);
  std::vector<double> w(static_cast<size_t>(n));
  vectors = DoubleMatrix(n, n);
  if (n == 0) return w;
  const int query = -1;
  double size = 0;
  int isize = 0, info = 0;
  dsyevd_("V", "U", &n, a.data(), &n, w.data(), &size, &query, &isize, &query, &info);
  const int lwork = static_cast<int>(size), liwork = isize;
  std::vector<double> work(static_cast<size_t>(lwork));
  std::vector<int> iwork(static_cast<size_t>(liwork));
  dsyevd_("V", "U", &n, a.data(), &n, w.data(), work.data(), &lwork, iwork.data(), &liwork, &info);
  require(info, "dsyevd");
  for (int64_t i = 0; i < n; ++i) std::copy_n(a.row(n - 1 - i), n, vectors.row(i));
  std::reverse(w.begin(), w.end());
  return w;
}

std::vector<double> symmetricEigenvalues(DoubleMatrix a) {
  SymmetricBatch one;
  one.add(a);
  return std::move(one.values().front());
}

std::vector<double> singularValues(DoubleMatrix a) {
  const int m = asInt(a.cols), n = asInt(a.rows), r = std::min(m, n), one = 1, query = -1;  // LAPACK sees the transpose
  std::vector<double> s(static_cast<size_t>(r));
  if (r == 0) return s;
  std::vector<int> iwork(8 * static_cast<size_t>(r));
  double size = 0, unused = 0;
  int info = 0;
  dgesdd_("N", &m, &n, a.data(), &m, s.data(), &unused, &one, &unused, &one, &size, &query, iwork.data(), &info);
  const int lwork = static_cast<int>(size);
  std::vector<double> work(static_cast<size_t>(lwork));
  dgesdd_("N", &m, &n, a.data(), &m, s.data(), &unused, &one, &unused, &one, work.data(), &lwork, iwork.data(), &info);
  require(info, "dgesdd");
  return s;
}

SmallSvd smallSvd(DoubleMatrix a) {
  const int m = asInt(a.cols), n = asInt(a.rows), r = std::min(m, n), query = -1;
  SmallSvd out{std::vector<double>(static_cast<size_t>(r)), {}, DoubleMatrix(r, m)};
  DoubleMatrix vt(n, r);  // column-major [r, n]: its columns' entries are the left vectors of the row-major matrix
  if (r == 0) {
    out.left = DoubleMatrix(0, n);
    return out;
  }
  std::vector<int> iwork(8 * static_cast<size_t>(r));
  double size = 0;
  int info = 0;
  dgesdd_("S", &m, &n, a.data(), &m, out.sigma.data(), out.right.data(), &m, vt.data(), &r, &size, &query, iwork.data(), &info);
  const int lwork = static_cast<int>(size);
  std::vector<double> work(static_cast<size_t>(lwork));
  dgesdd_("S", &m, &n, a.data(), &m, out.sigma.data(), out.right.data(), &m, vt.data(), &r, work.data(), &lwork, iwork.data(), &info);
  require(info, "dgesdd");
  out.left = vt.transposed();
  return out;
}

ThinQr thinQr(const DoubleMatrix& factor) {
  const int m = asInt(factor.cols), k = asInt(factor.rows), p = std::min(m, k), query = -1;
  ThinQr out{DoubleMatrix(p, m), DoubleMatrix(p, k)};
  if (p == 0) return out;
  DoubleMatrix a = factor;  // column-major [m, k]
  std::vector<double> tau(static_cast<size_t>(p));
  double size = 0, size2 = 0;
  int info = 0;
  dgeqrf_(&m, &k, a.data(), &m, tau.data(), &size, &query, &info);
  dorgqr_(&m, &p, &p, a.data(), &m, tau.data(), &size2, &query, &info);
  const int lwork = static_cast<int>(std::max(size, size2));
  std::vector<double> work(static_cast<size_t>(lwork));
  dgeqrf_(&m, &k, a.data(), &m, tau.data(), work.data(), &lwork, &info);
  require(info, "dgeqrf");
  for (int64_t j = 0; j < k; ++j) {
    for (int64_t i = 0; i <= std::min<int64_t>(j, p - 1); ++i) out.triangle(i, j) = a(j, i);
  }
  dorgqr_(&m, &p, &p, a.data(), &m, tau.data(), work.data(), &lwork, &info);
  require(info, "dorgqr");
  std::copy_n(a.data(), static_cast<size_t>(p) * static_cast<size_t>(m), out.basis.data());
  return out;
}

DoubleMatrix thinQrR(DoubleMatrix a) {
  const int m = asInt(a.cols), k = asInt(a.rows), p = std::min(m, k), query = -1;
  DoubleMatrix r(p, k);
  if (p == 0) return r;
  std::vector<double> tau(static_cast<size_t>(p));
  double size = 0;
  int info = 0;
  dgeqrf_(&m, &k, a.data(), &m, tau.data(), &size, &query, &info);
  const int lwork = static_cast<int>(size);
  std::vector<double> work(static_cast<size_t>(lwork));
  dgeqrf_(&m, &k, a.data(), &m, tau.data(), work.data(), &lwork, &info);
  require(info, "dgeqrf");
  for (int64_t j = 0; j < k; ++j) {
    for (int64_t i = 0; i <= std::min<int64_t>(j, p - 1); ++i) r(i, j) = a(j, i);
  }
  return r;
}

}  // namespace headscope::core
