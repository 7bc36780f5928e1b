#include "core/weights/large_svd.h"

#include <cblas.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/lapack.h"

namespace headscope::core {
namespace {

using lapack::asInt, lapack::require;

constexpr int64_t kDirect = 256;  // cores that LAPACK takes in some tens of milliseconds
constexpr int64_t kPanel = 32, kColumns = 64, kTile = 256;

double dot(const double* a, const double* b, int64_t count) { return cblas_ddot(asInt(count), a, 1, b, 1); }
void addScaled(double* to, double factor, const double* from, int64_t count) { cblas_daxpy(asInt(count), factor, from, 1, to, 1); }

/// A reflector that leaves only the first of x [count]: x becomes its vector with a leading 1, `beta` what is left there.
double reflect(double* x, int64_t count, double& beta) {
  const double head = x[0], tail = count > 1 ? cblas_dnrm2(asInt(count - 1), x + 1, 1) : 0.0;
  x[0] = 1;
  beta = head;
  if (!(tail > 0)) return 0;
  beta = -std::copysign(std::hypot(head, tail), head);
  for (int64_t i = 1; i < count; ++i) x[i] /= head - beta;
  return (beta - head) / beta;
}

/// Golub-Kahan bidiagonalisation of a square matrix. Inside a panel A stays as it was at its start; what the panel's reflectors did to
/// it is V^T Y + X^T U, their rows v, y, x, u by step.
class Bidiagonalisation {
 public:
  Bidiagonalisation(DoubleMatrix a, const Job& job)
      : a_(std::move(a)), n_(a_.rows), job_(job), v_(kPanel, n_), y_(kPanel, n_), x_(kPanel, n_), u_(kPanel, n_) {
    assert(a_.rows == a_.cols);
  }

  void run() {
    diagonal.resize(static_cast<size_t>(n_)), off.resize(static_cast<size_t>(n_));
    for (int64_t start = 0; start < n_; start += kPanel) {
      const int64_t count = std::min(kPanel, n_ - start);
      for (DoubleMatrix* m : {&v_, &y_, &x_, &u_}) std::fill(m->values.begin(), m->values.end(), 0.0);
      for (int64_t p = 0; p < count; ++p) {
        job_.checkpoint();
        column(start + p, p);
        if (start + p + 1 < n_) row(start + p, p);
      }
      update(start + count, count);
    }
  }

  std::vector<double> diagonal, off;  // [n], [n] of which the last is not used

 private:
  void column(int64_t i, int64_t p) {
    double* v = v_.row(p);
    for (int64_t r = i; r < n_; ++r) v[r] = a_(r, i);
    for (int64_t q = 0; q < p; ++q) {
      addScaled(v + i, -y_(q, i), v_.row(q) + i, n_ - i);
      addScaled(v + i, -u_(q, i), x_.row(q) + i, n_ - i);
    }
    const double tau = reflect(v + i, n_ - i, diagonal[static_cast<size_t>(i)]);
    const int64_t first = i + 1, rest = n_ - first;
    if (tau == 0 || rest == 0) return;
    double* y = y_.row(p);
    parallelFor((rest + kTile - 1) / kTile,
                [&](int64_t t) {
                  const int64_t c = first + t * kTile, count = std::min(kTile, n_ - c);
                  cblas_dgemv(CblasRowMajor, CblasTrans, asInt(n_ - i), asInt(count), tau, a_.row(i) + c, asInt(n_), v + i, 1, 0.0, y + c,
                              1);
                },
                &job_);
    for (int64_t q = 0; q < p; ++q) {
      addScaled(y + first, -tau * dot(v_.row(q) + i, v + i, n_ - i), y_.row(q) + first, rest);
      addScaled(y + first, -tau * dot(x_.row(q) + i, v + i, n_ - i), u_.row(q) + first, rest);
    }
  }

  void row(int64_t i, int64_t p) {
    const int64_t first = i + 1, rest = n_ - first;
    double* u = u_.row(p);
    std::copy_n(a_.row(i) + first, rest, u + first);
    for (int64_t q = 0; q <= p; ++q) addScaled(u + first, -v_(q, i), y_.row(q) + first, rest);
    for (int64_t q = 0; q < p; ++q) addScaled(u + first, -x_(q, i), u_.row(q) + first, rest);
    const double tau = reflect(u + first, rest, off[static_cast<size_t>(i)]);
    if (tau == 0) return;
    double* x = x_.row(p);
    parallelFor((rest + kTile - 1) / kTile,
                [&](int64_t t) {
                  const int64_t r = first + t * kTile, count = std::min(kTile, n_ - r);
                  cblas_dgemv(CblasRowMajor, CblasNoTrans, asInt(count), asInt(rest), tau, a_.row(r) + first, asInt(n_), u + first, 1, 0.0,
                              x + r, 1);
                },
                &job_);
    for (int64_t q = 0; q <= p; ++q) addScaled(x + first, -tau * dot(y_.row(q) + first, u + first, rest), v_.row(q) + first, rest);
    for (int64_t q = 0; q < p; ++q) addScaled(x + first, -tau * dot(u_.row(q) + first, u + first, rest), x_.row(q) + first, rest);
  }

  /// A -= V^T Y + X^T U on rows and columns [first, n).
  void update(int64_t first, int64_t count) {
    const int64_t tiles = (n_ - first + kTile - 1) / kTile;
    parallelFor(
        tiles * tiles,
        [&](int64_t t) {
          const int64_t r = first + t / tiles * kTile, c = first + t % tiles * kTile;
          const int rows = asInt(std::min(kTile, n_ - r)), cols = asInt(std::min(kTile, n_ - c)), k = asInt(count), stride = asInt(n_);
          for (const auto& [left, right] : {std::pair{&v_, &y_}, std::pair{&x_, &u_}}) {
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, cols, k, -1.0, left->row(0) + r, stride, right->row(0) + c, stride,
                        1.0, a_.row(r) + c, stride);
          }
        },
        &job_);
  }

  DoubleMatrix a_;
  int64_t n_;
  const Job& job_;
  DoubleMatrix v_, y_, x_, u_;  // [kPanel, n]
};

}  // namespace

DoubleMatrix largeThinQrR(DoubleMatrix a, const Job& job) {
  const int64_t k = a.rows, m = a.cols, p = std::min(k, m);
  const int stride = asInt(m);
  for (int64_t start = 0; start < p; start += kPanel) {
    job.checkpoint();
    const int rows = asInt(m - start), count = asInt(std::min(kPanel, p - start)), query = -1;
    double* panel = a.row(start) + start;  // column-major [m - start, count]
    std::vector<double> tau(static_cast<size_t>(count)), t(static_cast<size_t>(count) * static_cast<size_t>(count));
    double size = 0;
    int info = 0;
    dgeqrf_(&rows, &count, panel, &stride, tau.data(), &size, &query, &info);
    const int length = asInt(static_cast<int64_t>(size));
    std::vector<double> work(static_cast<size_t>(length));
    dgeqrf_(&rows, &count, panel, &stride, tau.data(), work.data(), &length, &info);
    require(info, "dgeqrf");
    dlarft_("F", "C", &rows, &count, panel, &stride, tau.data(), t.data(), &count);
    const int64_t next = start + count;
    parallelFor((k - next + kColumns - 1) / kColumns,
                [&](int64_t i) {
                  const int64_t first = next + i * kColumns;
                  const int cols = asInt(std::min(kColumns, k - first));
                  std::vector<double> spare(static_cast<size_t>(cols) * static_cast<size_t>(count));
                  dlarfb_("L", "T", "F", "C", &rows, &cols, &count, panel, &stride, t.data(), &count, a.row(first) + start, &stride,
                          spare.data(), &cols);
                },
                &job);
  }
  DoubleMatrix r(p, k);
  for (int64_t j = 0; j < k; ++j) {
    for (int64_t i = 0; i <= std::min<int64_t>(j, p - 1); ++i) r(i, j) = a(j, i);
  }
  return r;
}

std::vector<double> largeSingularValues(ConstMatrixView factor, const Job& job) {
  assert(factor.rows <= factor.cols);
  for (int64_t r = 0; r < factor.rows; ++r) {
    if (!std::all_of(factor.row(r), factor.row(r) + factor.cols, [](float v) { return std::isfinite(v); }))
      throw Error("a matrix with NaN or infinite values can't be decomposed");
  }
  DoubleMatrix core = largeThinQrR(DoubleMatrix::from(factor), job);
  if (core.rows <= kDirect) return singularValues(std::move(core));
  Bidiagonalisation two(std::move(core), job);
  two.run();
  const int n = asInt(factor.rows);
  std::vector<double> work(4 * static_cast<size_t>(n));
  int info = 0;
  dlasq1_(&n, two.diagonal.data(), two.off.data(), work.data(), &info);
  require(info, "dlasq1");
  return std::move(two.diagonal);
}

}  // namespace headscope::core
