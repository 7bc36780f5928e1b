// Plain loops for the products and decompositions that core asks of OpenBLAS: right, and slow. The golden models are small.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/weights/lapack.h"
#include "gpu/arithmetic/jacobi.h"
#include "gpu/arithmetic/team.h"
#include "tests/gpu_check/standins/cblas.h"

namespace {

template <typename T>
void gemm(bool ta, bool tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, int ldb, T beta, T* c, int ldc) {
  std::vector<T> row(static_cast<size_t>(n));
  for (int i = 0; i < m; ++i) {
    std::fill(row.begin(), row.end(), T(0));
    for (int p = 0; p < k; ++p) {
      const T x = ta ? a[static_cast<size_t>(p) * lda + i] : a[static_cast<size_t>(i) * lda + p];
      for (int j = 0; j < n; ++j)
        row[static_cast<size_t>(j)] += x * (tb ? b[static_cast<size_t>(j) * ldb + p] : b[static_cast<size_t>(p) * ldb + j]);
    }
    T* to = c + static_cast<size_t>(i) * ldc;
    for (int j = 0; j < n; ++j) to[j] = alpha * row[static_cast<size_t>(j)] + (beta == T(0) ? T(0) : beta * to[j]);
  }
}

/// B = alpha T B or alpha B T with T upper triangular or its transpose.
template <typename T>
void trmm(CBLAS_SIDE side, CBLAS_TRANSPOSE turn, int m, int n, T alpha, const T* a, int lda, T* b, int ldb) {
  const int k = side == CblasLeft ? m : n;
  std::vector<T> t(static_cast<size_t>(k) * static_cast<size_t>(k), T(0)), c(static_cast<size_t>(m) * static_cast<size_t>(n));
  for (int i = 0; i < k; ++i) {
    for (int j = i; j < k; ++j) t[static_cast<size_t>(turn == CblasTrans ? j * k + i : i * k + j)] = a[static_cast<size_t>(i) * lda + j];
  }
  if (side == CblasLeft) {
    gemm(false, false, m, n, k, alpha, t.data(), k, b, ldb, T(0), c.data(), n);
  } else {
    gemm(false, false, m, n, k, alpha, b, ldb, t.data(), k, T(0), c.data(), n);
  }
  for (int i = 0; i < m; ++i) std::copy_n(c.data() + static_cast<size_t>(i) * n, n, b + static_cast<size_t>(i) * ldb);
}

}  // namespace

void cblas_sgemm(CBLAS_ORDER, CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, int m, int n, int k, float alpha, const float* A, int lda,
                 const float* B, int ldb, float beta, float* C, int ldc) {
  gemm(a == CblasTrans, b == CblasTrans, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
void cblas_dgemm(CBLAS_ORDER, CBLAS_TRANSPOSE a, CBLAS_TRANSPOSE b, int m, int n, int k, double alpha, const double* A, int lda,
                 const double* B, int ldb, double beta, double* C, int ldc) {
  gemm(a == CblasTrans, b == CblasTrans, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc);
}
void cblas_sgemv(CBLAS_ORDER, CBLAS_TRANSPOSE a, int m, int n, float alpha, const float* A, int lda, const float* x, int, float beta,
                 float* y, int) {
  gemm(a == CblasTrans, false, a == CblasTrans ? n : m, 1, a == CblasTrans ? m : n, alpha, A, lda, x, 1, beta, y, 1);
}
void cblas_dgemv(CBLAS_ORDER, CBLAS_TRANSPOSE a, int m, int n, double alpha, const double* A, int lda, const double* x, int, double beta,
                 double* y, int) {
  gemm(a == CblasTrans, false, a == CblasTrans ? n : m, 1, a == CblasTrans ? m : n, alpha, A, lda, x, 1, beta, y, 1);
}
void cblas_dsyrk(CBLAS_ORDER, CBLAS_UPLO, CBLAS_TRANSPOSE a, int n, int k, double alpha, const double* A, int lda, double beta, double* C,
                 int ldc) {
  gemm(a == CblasTrans, a != CblasTrans, n, n, k, alpha, A, lda, A, lda, beta, C, ldc);  // both triangles
}
void cblas_strmm(CBLAS_ORDER, CBLAS_SIDE side, CBLAS_UPLO, CBLAS_TRANSPOSE turn, CBLAS_DIAG, int m, int n, float alpha, const float* A,
                 int lda, float* B, int ldb) {
  trmm(side, turn, m, n, alpha, A, lda, B, ldb);
}
void cblas_dtrmm(CBLAS_ORDER, CBLAS_SIDE side, CBLAS_UPLO, CBLAS_TRANSPOSE turn, CBLAS_DIAG, int m, int n, double alpha, const double* A,
                 int lda, double* B, int ldb) {
  trmm(side, turn, m, n, alpha, A, lda, B, ldb);
}
double cblas_ddot(int n, const double* x, int, const double* y, int) { return std::inner_product(x, x + n, y, 0.0); }
float cblas_sdot(int n, const float* x, int, const float* y, int) { return std::inner_product(x, x + n, y, 0.0f); }
void cblas_saxpy(int n, float alpha, const float* x, int, float* y, int) {
  for (int i = 0; i < n; ++i) y[i] += alpha * x[i];
}

void cblas_daxpy(int n, double alpha, const double* x, int, double* y, int) {
  for (int i = 0; i < n; ++i) y[i] += alpha * x[i];
}
void cblas_dscal(int n, double alpha, double* x, int) {
  for (int i = 0; i < n; ++i) x[i] *= alpha;
}
double cblas_dnrm2(int n, const double* x, int) { return std::sqrt(std::inner_product(x, x + n, x, 0.0)); }

// LAPACK, column-major. A workspace query (lwork -1) is answered with 1.
extern "C" {

void dpotrf_(const char*, const int* n, double* a, const int* lda, int* info) {  // lower
  *info = 0;
  for (int j = 0; j < *n; ++j) {
    double* column = a + static_cast<size_t>(j) * *lda;
    for (int p = 0; p < j; ++p) {
      const double* earlier = a + static_cast<size_t>(p) * *lda;
      for (int i = j; i < *n; ++i) column[i] -= earlier[i] * earlier[j];
    }
    if (!(column[j] > 0)) {
      *info = j + 1;
      return;
    }
    const double root = std::sqrt(column[j]);
    for (int i = j; i < *n; ++i) column[i] /= root;
  }
}

void dtrcon_(const char*, const char*, const char*, const int* n, const double* a, const int* lda, double* rcond, double*, int*,
             int* info) {
  *info = 0;
  double own = 0, inverse = 0;
  for (int j = 0; j < *n; ++j) {
    std::vector<double> x(static_cast<size_t>(*n), 0.0);
    double sum = 0, inverseSum = 0;
    for (int i = j; i < *n; ++i) sum += std::abs(a[static_cast<size_t>(j) * *lda + i]);
    for (int i = j; i < *n; ++i) {  // L x = e_j
      double v = i == j ? 1 : 0;
      for (int p = j; p < i; ++p) v -= a[static_cast<size_t>(p) * *lda + i] * x[static_cast<size_t>(p)];
      x[static_cast<size_t>(i)] = v / a[static_cast<size_t>(i) * *lda + i];
      inverseSum += std::abs(x[static_cast<size_t>(i)]);
    }
    own = std::max(own, sum), inverse = std::max(inverse, inverseSum);
  }
  *rcond = own > 0 && inverse > 0 ? 1 / (own * inverse) : 0;
}

void dsyevd_(const char* jobz, const char*, const int* n, double* a, const int* lda, double* w, double* work, const int* lwork, int* iwork,
             const int* liwork, int* info) {
  *info = 0;
  if (*lwork == -1 || *liwork == -1) {
    work[0] = 1, iwork[0] = 1;
    return;
  }
  const int k = *n;
  std::vector<double> s(static_cast<size_t>(k) * k), v(s.size(), 0.0);
  for (int j = 0; j < k; ++j) {
    v[static_cast<size_t>(j) * k + j] = 1;
    for (int i = 0; i < k; ++i)
      s[static_cast<size_t>(j) * k + i] = i <= j ? a[static_cast<size_t>(j) * *lda + i] : a[static_cast<size_t>(i) * *lda + j];
  }
  const auto at = [&](int i, int j) -> double& { return s[static_cast<size_t>(j) * k + i]; };
  for (int sweep = 0; sweep < 60; ++sweep) {
    bool isDone = true;
    for (int p = 0; p < k; ++p) {
      for (int q = p + 1; q < k; ++q) {
        if (std::abs(at(p, q)) <= 1e-17 * std::sqrt(std::abs(at(p, p) * at(q, q))) || std::abs(at(p, q)) < 1e-300) continue;
        isDone = false;
        const double angle = 0.5 * std::atan2(2 * at(p, q), at(p, p) - at(q, q)), c = std::cos(angle), si = std::sin(angle);
        for (int i = 0; i < k; ++i) {
          const double x = at(i, p), y = at(i, q);
          at(i, p) = c * x + si * y, at(i, q) = c * y - si * x;
        }
        for (int i = 0; i < k; ++i) {
          const double x = at(p, i), y = at(q, i);
          at(p, i) = c * x + si * y, at(q, i) = c * y - si * x;
          double &vp = v[static_cast<size_t>(p) * k + i], &vq = v[static_cast<size_t>(q) * k + i];
          const double t = vp;
          vp = c * t + si * vq, vq = c * vq - si * t;
        }
        at(p, q) = at(q, p) = 0;
      }
    }
    if (isDone) break;
  }
  std::vector<int> order(static_cast<size_t>(k));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int i, int j) { return at(i, i) < at(j, j); });
  for (int j = 0; j < k; ++j) {
    w[j] = at(order[static_cast<size_t>(j)], order[static_cast<size_t>(j)]);
    if (*jobz == 'V') std::copy_n(v.data() + static_cast<size_t>(order[static_cast<size_t>(j)]) * k, k, a + static_cast<size_t>(j) * *lda);
  }
}

void dsterf_(const int* n, double* d, double* e, int* info) {
  const auto k = static_cast<size_t>(*n);
  std::vector<double> a(k * k, 0.0), work(1);
  for (size_t i = 0; i < k; ++i) {
    a[i * k + i] = d[i];
    if (i + 1 < k) a[i * k + i + 1] = a[(i + 1) * k + i] = e[i];
  }
  const int length = 1 << 20;
  int iwork = 0;
  dsyevd_("N", "U", n, a.data(), n, d, work.data(), &length, &iwork, &length, info);
}

void dgesdd_(const char* jobz, const int* m, const int* n, double* a, const int* lda, double* s, double* u, const int* ldu, double* vt,
             const int* ldvt, double* work, const int* lwork, int*, int* info) {
  *info = 0;
  if (*lwork == -1) {
    work[0] = 1;
    return;
  }
  // Rows of x are the columns of a, or its rows where it is wide
  const bool isWide = *n > *m;
  const int r = std::min(*m, *n), length = std::max(*m, *n);
  std::vector<double> x(static_cast<size_t>(r) * length), y(static_cast<size_t>(r) * r), sigma(static_cast<size_t>(r));
  for (int j = 0; j < *n; ++j) {
    for (int i = 0; i < *m; ++i)
      x[isWide ? static_cast<size_t>(i) * length + j : static_cast<size_t>(j) * length + i] = a[static_cast<size_t>(j) * *lda + i];
  }
  headscope::gpu::SerialTeam team;
  if (!headscope::gpu::orthogonaliseRows(team, x.data(), r, length, y.data(), sigma.data())) *info = 1;
  std::vector<int> order(static_cast<size_t>(r));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int i, int j) { return sigma[static_cast<size_t>(i)] > sigma[static_cast<size_t>(j)]; });
  for (int k = 0; k < r; ++k) {
    const int from = order[static_cast<size_t>(k)];
    s[k] = sigma[static_cast<size_t>(from)];
    if (*jobz != 'S') continue;
    const auto longPart = [&](int i) { return s[k] > 0 ? x[static_cast<size_t>(from) * length + i] / s[k] : 0.0; };
    const auto shortPart = [&](int i) { return y[static_cast<size_t>(from) * r + i]; };
    for (int i = 0; i < *m; ++i) u[static_cast<size_t>(k) * *ldu + i] = isWide ? shortPart(i) : longPart(i);
    for (int j = 0; j < *n; ++j) vt[static_cast<size_t>(j) * *ldvt + k] = isWide ? longPart(j) : shortPart(j);
  }
}

void dgeqrf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work, const int* lwork, int* info) {
  *info = 0;
  if (*lwork == -1) {
    work[0] = 1;
    return;
  }
  for (int j = 0; j < std::min(*m, *n); ++j) {
    double *v = a + static_cast<size_t>(j) * *lda, below = 0;
    for (int i = j + 1; i < *m; ++i) below += v[i] * v[i];
    tau[j] = 0;
    if (below == 0) continue;
    const double norm = std::sqrt(v[j] * v[j] + below), beta = v[j] > 0 ? -norm : norm, scale = v[j] - beta;
    tau[j] = (beta - v[j]) / beta;
    for (int i = j + 1; i < *m; ++i) v[i] /= scale;
    v[j] = beta;
    for (int c = j + 1; c < *n; ++c) {
      double *x = a + static_cast<size_t>(c) * *lda, dot = x[j];
      for (int i = j + 1; i < *m; ++i) dot += v[i] * x[i];
      x[j] -= tau[j] * dot;
      for (int i = j + 1; i < *m; ++i) x[i] -= tau[j] * dot * v[i];
    }
  }
}

void dorgqr_(const int* m, const int* n, const int* k, double* a, const int* lda, const double* tau, double* work, const int* lwork,
             int* info) {
  *info = 0;
  if (*lwork == -1) {
    work[0] = 1;
    return;
  }
  std::vector<double> q(static_cast<size_t>(*m) * *n, 0.0);
  for (int c = 0; c < *n; ++c) {
    double* x = q.data() + static_cast<size_t>(c) * *m;
    x[c] = 1;
    for (int j = *k - 1; j >= 0; --j) {
      const double* v = a + static_cast<size_t>(j) * *lda;
      double dot = x[j];
      for (int i = j + 1; i < *m; ++i) dot += v[i] * x[i];
      x[j] -= tau[j] * dot;
      for (int i = j + 1; i < *m; ++i) x[i] -= tau[j] * dot * v[i];
    }
  }
  for (int c = 0; c < *n; ++c) std::copy_n(q.data() + static_cast<size_t>(c) * *m, *m, a + static_cast<size_t>(c) * *lda);
}
}
