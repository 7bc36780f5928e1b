#include "core/weights/large_eigen.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/lapack.h"

namespace headscope::core {
namespace {

using lapack::asInt;

constexpr int64_t kSmall = 48;    // tridiagonal blocks that are solved at once
constexpr int64_t kDirect = 512;  // whole matrices that LAPACK takes in some tens of milliseconds
constexpr int64_t kPanel = 32, kTile = 256;

// ---- reduction to tridiagonal form

void requireFinite(const DoubleMatrix& a) {
  if (!std::all_of(a.values.begin(), a.values.end(), [](double v) { return std::isfinite(v); }))
    throw Error("a matrix with NaN or infinite values can't be decomposed");
}

/// A symmetric matrix as reflectors and a tridiagonal matrix: row i of `reflectors` is v_i, with v_i[c] = 0 for c <= i.
struct Reduced {
  std::vector<double> diagonal, off, scales;  // [n], [n - 1], [n - 1]
  DoubleMatrix reflectors;                    // [n - 1, n]
};

/// y[first ..] = A x over the trailing rows, split over the pool: only the upper triangle is read, each tile once for both of its products,
/// as memory is what this waits for. parts [tiles, n]: sums of the rows of tiles, where they are added up.
void trailingProduct(const DoubleMatrix& a, int64_t first, const double* x, double* y, DoubleMatrix& parts, const Job& job) {
  const int64_t n = a.rows, tiles = (n - first + kTile - 1) / kTile;
  parallelFor(
      tiles,
      [&](int64_t t) {
        const int64_t row = first + t * kTile;
        const int rows = asInt(std::min(kTile, n - row)), stride = asInt(n);
        double* part = parts.row(t);
        cblas_dsymv(CblasRowMajor, CblasUpper, rows, 1.0, a.row(row) + row, stride, x + row, 1, 0.0, part + row, 1);
        for (int64_t col = row + kTile; col < n; col += kTile) {
          const int cols = asInt(std::min(kTile, n - col));
          const double* tile = a.row(row) + col;
          cblas_dgemv(CblasRowMajor, CblasNoTrans, rows, cols, 1.0, tile, stride, x + col, 1, 1.0, part + row, 1);
          cblas_dgemv(CblasRowMajor, CblasTrans, rows, cols, 1.0, tile, stride, x + row, 1, 0.0, part + col, 1);
        }
      },
      &job);
  std::copy_n(parts.row(0) + first, n - first, y + first);
  for (int64_t t = 1; t < tiles; ++t) {
    const int64_t from = first + t * kTile;
    cblas_daxpy(asInt(n - from), 1.0, parts.row(t) + from, 1, y + from, 1);
  }
}

/// A -= V^T W + W^T V on rows and columns [first, n), V and W [count, n]: tiles on and above the diagonal.
void updateTrailing(DoubleMatrix& a, int64_t first, const double* v, const double* w, int64_t count, const Job& job) {
  const int64_t n = a.rows, tiles = (n - first + kTile - 1) / kTile;
  parallelFor(
      tiles * tiles,
      [&](int64_t t) {
        const int64_t row = first + t / tiles * kTile, col = first + t % tiles * kTile;
        if (col < row) return;
        const int rows = asInt(std::min(kTile, n - row)), cols = asInt(std::min(kTile, n - col)), k = asInt(count), stride = asInt(n);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, cols, k, -1.0, v + row, stride, w + col, stride, 1.0, a.row(row) + col,
                    stride);
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, cols, k, -1.0, w + row, stride, v + col, stride, 1.0, a.row(row) + col,
                    stride);
      },
      &job);
}

Reduced reduce(DoubleMatrix a, const Job& job, const std::function<void(double)>& progress) {
  const int64_t n = a.rows;
  Reduced out{std::vector<double>(static_cast<size_t>(n)), std::vector<double>(static_cast<size_t>(n - 1)),
              std::vector<double>(static_cast<size_t>(n - 1)), DoubleMatrix(n - 1, n)};
  DoubleMatrix w(kPanel, n), parts((n + kTile - 1) / kTile, n);  // rows w_i of the panel; trailingProduct's sums
  std::vector<double> column(static_cast<size_t>(n)), y(static_cast<size_t>(n));
  int64_t start = 0;  // of the panel; A holds the matrix after all earlier panels
  for (int64_t i = 0; i < n; ++i) {
    job.checkpoint();
    // Row i of the current matrix: A less the panel's own updates.
    for (int64_t c = i; c < n; ++c) column[static_cast<size_t>(c)] = a(i, c);
    for (int64_t p = start; p < i; ++p) {
      const double* v = out.reflectors.row(p);
      const double* u = w.row(p - start);
      for (int64_t c = i; c < n; ++c) column[static_cast<size_t>(c)] -= v[i] * u[c] + u[i] * v[c];
    }
    out.diagonal[static_cast<size_t>(i)] = column[static_cast<size_t>(i)];
    if (i + 1 == n) break;
    // Reflector that leaves only the entry beside the diagonal.
    double* v = out.reflectors.row(i);
    const int64_t rest = n - i - 1;
    const double head = column[static_cast<size_t>(i + 1)], tail = rest > 1 ? cblas_dnrm2(asInt(rest - 1), column.data() + i + 2, 1) : 0.0;
    double beta = head, tau = 0;
    v[i + 1] = 1;
    if (tail > 0) {
      beta = -std::copysign(std::hypot(head, tail), head);
      tau = (beta - head) / beta;
      for (int64_t c = i + 2; c < n; ++c) v[c] = column[static_cast<size_t>(c)] / (head - beta);
    }
    out.off[static_cast<size_t>(i)] = beta;
    out.scales[static_cast<size_t>(i)] = tau;
    // w = tau (A v - V (W v) - W (V v)), less half its part along v.
    double* u = w.row(i - start);
    std::fill_n(u, n, 0.0);
    if (tau != 0) {
      trailingProduct(a, i + 1, v, y.data(), parts, job);
      for (int64_t p = start; p < i; ++p) {
        const double* vp = out.reflectors.row(p);
        const double* up = w.row(p - start);
        const double along = cblas_ddot(asInt(rest), up + i + 1, 1, v + i + 1, 1),
                     across = cblas_ddot(asInt(rest), vp + i + 1, 1, v + i + 1, 1);
        for (int64_t c = i + 1; c < n; ++c) y[static_cast<size_t>(c)] -= along * vp[c] + across * up[c];
      }
      for (int64_t c = i + 1; c < n; ++c) u[c] = tau * y[static_cast<size_t>(c)];
      const double half = 0.5 * tau * cblas_ddot(asInt(rest), u + i + 1, 1, v + i + 1, 1);
      for (int64_t c = i + 1; c < n; ++c) u[c] -= half * v[c];
    }
    if (i + 1 - start == kPanel) {
      updateTrailing(a, i + 1, out.reflectors.row(start), w.data(), kPanel, job);
      start = i + 1;
      const double left = 1 - static_cast<double>(start) / static_cast<double>(n);
      if (progress) progress(1 - left * left * left);
    }
  }
  return out;
}

// ---- divide and conquer

/// C [rows of a, cols] = A B by tiles over the pool; A [m, k] and B [k, n] inside larger matrices.
void tiledProduct(const double* a, int64_t aStride, const double* b, int64_t bStride, int64_t m, int64_t k, int64_t n, double* c,
                  int64_t cStride, const Job& job) {
  const int64_t across = (n + kTile - 1) / kTile, down = (m + kTile - 1) / kTile;
  parallelFor(
      across * down,
      [&](int64_t t) {
        const int64_t row = t / across * kTile, col = t % across * kTile;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, asInt(std::min(kTile, m - row)), asInt(std::min(kTile, n - col)), asInt(k),
                    1.0, a + row * aStride, asInt(aStride), b + col, asInt(bStride), 0.0, c + row * cStride + col, asInt(cStride));
      },
      &job);
}

class DivideAndConquer {
 public:
  DivideAndConquer(std::vector<double> diagonal, std::vector<double> off, DoubleMatrix& vectors, const Job& job)
      : d_(std::move(diagonal)), e_(std::move(off)), q_(vectors), spare_(vectors.rows, vectors.cols), job_(job) {}

  std::vector<double> run() {
    solve(0, static_cast<int64_t>(d_.size()));
    return std::move(d_);
  }

 private:
  /// Eigenvalues of rows [first, end) into d_, ascending, eigenvectors into that diagonal block of q_.
  void solve(int64_t first, int64_t end) {
    job_.checkpoint();
    const int64_t n = end - first;
    if (n <= kSmall) {
      DoubleMatrix t(n, n), vectors;
      for (int64_t i = 0; i < n; ++i) {
        t(i, i) = d_[static_cast<size_t>(first + i)];
        if (i + 1 < n) t(i, i + 1) = t(i + 1, i) = e_[static_cast<size_t>(first + i)];
      }
      const std::vector<double> values = symmetricEigen(std::move(t), vectors);
      for (int64_t i = 0; i < n; ++i) {
        d_[static_cast<size_t>(first + i)] = values[static_cast<size_t>(n - 1 - i)];
        for (int64_t r = 0; r < n; ++r) q_(first + r, first + i) = vectors(n - 1 - i, r);
      }
      return;
    }
    const int64_t middle = first + n / 2;
    const double joint = e_[static_cast<size_t>(middle - 1)], rho = std::abs(joint);
    d_[static_cast<size_t>(middle - 1)] -= rho, d_[static_cast<size_t>(middle)] -= rho;
    solve(first, middle);
    solve(middle, end);
    merge(first, middle, end, rho, joint < 0 ? -1.0 : 1.0);
  }

  /// T = diag(T1, T2) + rho v v^T, v = (0 .. 1, sign .. 0): the halves' eigenvectors turn it into D + rho z z^T.
  void merge(int64_t first, int64_t middle, int64_t end, double rho, double sign) {
    const int64_t n = end - first;
    std::vector<double> z(static_cast<size_t>(n)), d(d_.begin() + first, d_.begin() + end);
    for (int64_t i = 0; i < n; ++i)
      z[static_cast<size_t>(i)] = first + i < middle ? q_(middle - 1, first + i) : sign * q_(middle, first + i);
    const double length = cblas_dnrm2(asInt(n), z.data(), 1);  // sqrt(2)
    for (double& v : z) v /= length;
    rho *= length * length;

    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return d[static_cast<size_t>(a)] < d[static_cast<size_t>(b)]; });
    double largest = 0;
    for (const double v : d) largest = std::max(largest, std::abs(v));
    for (const double v : z) largest = std::max(largest, rho * std::abs(v));
    const double tolerance = 8 * std::numeric_limits<double>::epsilon() * largest;

    // Deflation: directions that z hardly touches stay; of two near-equal values a rotation leaves one that z does not touch.
    std::vector<int64_t> kept, settled;  // columns of the block
    for (const int64_t at : order) {
      const size_t s = static_cast<size_t>(at);
      if (rho * std::abs(z[s]) <= tolerance) {
        settled.push_back(at);
        continue;
      }
      if (!kept.empty()) {
        const size_t p = static_cast<size_t>(kept.back());
        const double r = std::hypot(z[p], z[s]), c = z[s] / r, t = -z[p] / r, gap = d[s] - d[p];
        if (std::abs(gap * c * t) <= tolerance) {
          z[s] = r, z[p] = 0;
          for (int64_t row = first; row < end; ++row) {  // columns p and s of Q
            const double a = q_(row, first + kept.back()), b = q_(row, first + at);
            q_(row, first + kept.back()) = c * a + t * b, q_(row, first + at) = c * b - t * a;
          }
          const double dp = d[p], ds = d[s];
          d[p] = dp * c * c + ds * t * t, d[s] = dp * t * t + ds * c * c;
          settled.push_back(kept.back());
          kept.back() = at;
          continue;
        }
      }
      kept.push_back(at);
    }
    const int64_t k = static_cast<int64_t>(kept.size());
    std::vector<double> values(static_cast<size_t>(k));
    const DoubleMatrix u = k > 0 ? secular(kept, d, z, rho, values) : DoubleMatrix();
    rebuild(first, middle, end, kept, settled, u, values, d);
  }

  /// Eigenvalues of D + rho z z^T on the kept directions, ascending, and its eigenvectors as rows.
  DoubleMatrix secular(const std::vector<int64_t>& kept, const std::vector<double>& d, const std::vector<double>& z, double rho,
                       std::vector<double>& values) const {
    const int64_t k = static_cast<int64_t>(kept.size());
    std::vector<double> poles, weights;
    for (const int64_t at : kept) poles.push_back(d[static_cast<size_t>(at)]), weights.push_back(z[static_cast<size_t>(at)]);
    double length = 0;  // dlaed4 wants a unit vector
    for (const double w : weights) length += w * w;
    length = std::sqrt(length);
    for (double& w : weights) w /= length;
    rho *= length * length;
    DoubleMatrix gaps(k, k);  // row i: poles - value i, exact where it matters
    parallelRanges(
        k, 8,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int n = asInt(k), index = asInt(i + 1);
            int info = 0;
            dlaed4_(&n, &index, poles.data(), weights.data(), gaps.row(i), &rho, &values[static_cast<size_t>(i)], &info);
            if (info != 0) throw Error("a decomposition did not converge (dlaed4)");
          }
        },
        &job_);
    if (k <= 2) return gaps;  // dlaed4 then returns the vectors themselves
    // z for which these values are exact (Loewner), so that the vectors are orthogonal.
    std::vector<double> fitted(static_cast<size_t>(k));
    parallelRanges(
        k, 16,
        [&](int64_t begin, int64_t end) {
          for (int64_t j = begin; j < end; ++j) {
            double product = -gaps(j, j);
            for (int64_t i = 0; i < k; ++i) {
              if (i != j) product *= -gaps(i, j) / (poles[static_cast<size_t>(i)] - poles[static_cast<size_t>(j)]);
            }
            fitted[static_cast<size_t>(j)] = std::copysign(std::sqrt(std::max(0.0, product)), weights[static_cast<size_t>(j)]);
          }
        },
        &job_);
    parallelRanges(
        k, 16,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            double squares = 0;
            for (int64_t j = 0; j < k; ++j) {
              gaps(i, j) = fitted[static_cast<size_t>(j)] / gaps(i, j);
              squares += gaps(i, j) * gaps(i, j);
            }
            cblas_dscal(asInt(k), 1.0 / std::sqrt(squares), gaps.row(i), 1);
          }
        },
        &job_);
    return gaps;
  }

  /// Q <- Q [U, settled], eigenvalues in ascending order. The upper and the lower half of Q each touch only their own columns.
  void rebuild(int64_t first, int64_t middle, int64_t end, const std::vector<int64_t>& kept, const std::vector<int64_t>& settled,
               const DoubleMatrix& u, const std::vector<double>& values, const std::vector<double>& d) {
    struct Source {
      double value;
      int64_t index;
      bool isKept;
    };
    const int64_t n = end - first, k = static_cast<int64_t>(kept.size());
    std::vector<Source> sources;
    for (int64_t i = 0; i < k; ++i) sources.push_back({values[static_cast<size_t>(i)], i, true});
    for (const int64_t at : settled) sources.push_back({d[static_cast<size_t>(at)], at, false});
    std::sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.value < b.value; });

    // A column whose lower half is zero (it came from the first half and was not rotated) adds nothing below, and the other way round.
    for (const auto& [row, stop] : {std::pair{first, middle}, {middle, end}}) {
      const int64_t rows = stop - row;
      for (int64_t r = row; r < stop; ++r) std::fill_n(spare_.row(r) + first, k, 0.0);
      std::vector<int64_t> used;
      for (int64_t j = 0; j < k; ++j) {
        if (touches(first + kept[static_cast<size_t>(j)], row, stop)) used.push_back(j);
      }
      const int64_t m = static_cast<int64_t>(used.size());
      if (m == 0) continue;
      DoubleMatrix columns(rows, m), turns(m, k);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < m; ++j) columns(r, j) = q_(row + r, first + kept[static_cast<size_t>(used[static_cast<size_t>(j)])]);
      }
      for (int64_t c = 0; c < k; ++c) {
        for (int64_t j = 0; j < m; ++j) turns(j, c) = u(c, used[static_cast<size_t>(j)]);
      }
      tiledProduct(columns.data(), m, turns.data(), k, rows, m, k, spare_.row(row) + first, spare_.cols, job_);
    }
    parallelRanges(
        n, 32,
        [&](int64_t begin, int64_t stop) {
          std::vector<double> row(static_cast<size_t>(n));
          for (int64_t r = first + begin; r < first + stop; ++r) {
            for (int64_t c = 0; c < n; ++c) {
              const Source& s = sources[static_cast<size_t>(c)];
              row[static_cast<size_t>(c)] = s.isKept ? spare_(r, first + s.index) : q_(r, first + s.index);
            }
            std::copy(row.begin(), row.end(), q_.row(r) + first);
          }
        },
        &job_);
    for (int64_t c = 0; c < n; ++c) d_[static_cast<size_t>(first + c)] = sources[static_cast<size_t>(c)].value;
  }

  bool touches(int64_t column, int64_t row, int64_t end) const {
    for (int64_t r = row; r < end; ++r) {
      if (q_(r, column) != 0) return true;
    }
    return false;
  }

  std::vector<double> d_, e_;
  DoubleMatrix& q_;
  DoubleMatrix spare_;
  const Job& job_;
};

/// Rows of `vectors` (eigenvectors of the tridiagonal matrix) through the reflectors: v <- H_0 H_1 ... v, in blocks I - V^T T V.
void applyReflectors(const Reduced& reduced, DoubleMatrix& vectors, const Job& job, const std::function<void(double)>& progress) {
  const int64_t n = vectors.cols, count = n - 1;
  for (int64_t last = count; last > 0; last -= std::min(kPanel, last)) {
    if (progress) progress(1 - static_cast<double>(last) / static_cast<double>(count));
    const int64_t first = std::max<int64_t>(0, last - kPanel), k = last - first;
    const double* v = reduced.reflectors.row(first);
    // H_first .. H_(last - 1) = I - V^T T V, T upper triangular (LAPACK's dlarft, forward).
    DoubleMatrix t(k, k), inner(k, k);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, asInt(k), asInt(k), asInt(n), 1.0, v, asInt(n), v, asInt(n), 0.0, inner.data(),
                asInt(k));
    for (int64_t i = 0; i < k; ++i) {
      const double tau = reduced.scales[static_cast<size_t>(first + i)];
      t(i, i) = tau;
      for (int64_t r = 0; r < i; ++r) {
        double sum = 0;
        for (int64_t j = r; j < i; ++j) sum += t(r, j) * inner(j, i);
        t(r, i) = -tau * sum;
      }
    }
    parallelFor((vectors.rows + kTile - 1) / kTile,
                [&](int64_t b) {
                  const int64_t row = b * kTile, rows = std::min(kTile, vectors.rows - row);
                  DoubleMatrix along(rows, k), turned(rows, k);  // x V^T, then x V^T T^T: row form of (I - V^T T V) x
                  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, asInt(rows), asInt(k), asInt(n - first), 1.0,
                              vectors.row(row) + first, asInt(n), v + first, asInt(n), 0.0, along.data(), asInt(k));
                  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, asInt(rows), asInt(k), asInt(k), 1.0, along.data(), asInt(k),
                              t.data(), asInt(k), 0.0, turned.data(), asInt(k));
                  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, asInt(rows), asInt(n - first), asInt(k), -1.0, turned.data(),
                              asInt(k), v + first, asInt(n), 1.0, vectors.row(row) + first, asInt(n));
                },
                &job);
  }
}

}  // namespace

std::vector<double> tridiagonalEigen(std::vector<double> diagonal, std::vector<double> off, DoubleMatrix& vectors, const Job& job) {
  const int64_t n = static_cast<int64_t>(diagonal.size());
  vectors = DoubleMatrix(n, n);
  if (n == 0) return {};
  return DivideAndConquer(std::move(diagonal), std::move(off), vectors, job).run();
}

std::vector<double> largeSymmetricEigenvalues(DoubleMatrix a, const Job& job) {
  requireFinite(a);
  const int n = asInt(a.rows);
  if (n <= kDirect) return symmetricEigenvalues(std::move(a));
  Reduced reduced = reduce(std::move(a), job, {});
  int info = 0;
  dsterf_(&n, reduced.diagonal.data(), reduced.off.data(), &info);
  if (info != 0) throw Error("a decomposition did not converge (dsterf)");
  std::reverse(reduced.diagonal.begin(), reduced.diagonal.end());
  return std::move(reduced.diagonal);
}

std::vector<double> largeSymmetricEigen(DoubleMatrix a, DoubleMatrix& vectors, const Job& job,
                                        const std::function<void(double)>& progress) {
  const int64_t n = a.rows;
  requireFinite(a);
  if (n <= kDirect) return symmetricEigen(std::move(a), vectors);
  constexpr double kReducing = 0.65, kDividing = 0.15;  // shares of the time
  const auto part = [&](double from, double share) -> std::function<void(double)> {
    if (!progress) return {};
    return [&progress, from, share](double done) { progress(from + share * done); };
  };
  const Reduced reduced = reduce(std::move(a), job, part(0, kReducing));
  DoubleMatrix columns;
  std::vector<double> values = tridiagonalEigen(reduced.diagonal, reduced.off, columns, job);
  vectors = DoubleMatrix(n, n);
  parallelRanges(
      n, 32,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          for (int64_t r = 0; r < n; ++r) vectors(i, r) = columns(r, n - 1 - i);
        }
      },
      &job);
  columns = DoubleMatrix();
  applyReflectors(reduced, vectors, job, part(kReducing + kDividing, 1 - kReducing - kDividing));
  std::reverse(values.begin(), values.end());
  return values;
}

}  // namespace headscope::core
