#include "tests/support/naive_weights.h"

#include <algorithm>
#include <cmath>

#include "tests/support/naive_ops.h"

namespace headscope::tests {

using core::DoubleMatrix;

std::vector<double> naiveSingularValues(const DoubleMatrix& a) {
  // Columns of the narrow side, one after another
  const bool isWide = a.cols > a.rows;
  const int64_t n = isWide ? a.rows : a.cols, m = isWide ? a.cols : a.rows;
  std::vector<double> c(static_cast<size_t>(n * m));
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < m; ++i) c[static_cast<size_t>(j * m + i)] = isWide ? a(j, i) : a(i, j);
  }
  bool isDone = false;
  for (int sweep = 0; sweep < 60 && !isDone; ++sweep) {
    isDone = true;
    for (int64_t p = 0; p < n; ++p) {
      for (int64_t q = p + 1; q < n; ++q) {
        double *x = &c[static_cast<size_t>(p * m)], *y = &c[static_cast<size_t>(q * m)], xx = 0, yy = 0, xy = 0;
        for (int64_t i = 0; i < m; ++i) xx += x[i] * x[i], yy += y[i] * y[i], xy += x[i] * y[i];
        if (std::abs(xy) <= 1e-15 * std::sqrt(xx) * std::sqrt(yy)) continue;
        isDone = false;
        const double angle = 0.5 * std::atan2(2 * xy, xx - yy), s = std::sin(angle), co = std::cos(angle);
        for (int64_t i = 0; i < m; ++i) {
          const double u = x[i], v = y[i];
          x[i] = co * u + s * v, y[i] = co * v - s * u;
        }
      }
    }
  }
  std::vector<double> values;
  for (int64_t j = 0; j < n; ++j) {
    double sum = 0;
    for (int64_t i = 0; i < m; ++i) sum += c[static_cast<size_t>(j * m + i)] * c[static_cast<size_t>(j * m + i)];
    values.push_back(std::sqrt(sum));
  }
  std::sort(values.rbegin(), values.rend());
  return values;
}

DoubleMatrix naiveTriangle(const DoubleMatrix& f) {
  const int64_t k = f.rows, m = f.cols;
  std::vector<double> q(f.values.begin(), f.values.end());
  DoubleMatrix r(k, k);
  for (int64_t j = 0; j < k; ++j) {
    double* x = &q[static_cast<size_t>(j * m)];
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t i = 0; i < j; ++i) {
        const double* y = &q[static_cast<size_t>(i * m)];
        double dot = 0;
        for (int64_t c = 0; c < m; ++c) dot += x[c] * y[c];
        for (int64_t c = 0; c < m; ++c) x[c] -= dot * y[c];
        r(i, j) += dot;
      }
    }
    double norm = 0;
    for (int64_t c = 0; c < m; ++c) norm += x[c] * x[c];
    norm = std::sqrt(norm);
    r(j, j) = norm;
    // What is left of a dependent row is rounding: no direction
    double own = 0;
    for (int64_t i = 0; i <= j; ++i) own = std::max(own, std::abs(r(i, j)));
    const bool isEmpty = norm <= 1e-15 * own;
    if (isEmpty) r(j, j) = 0;
    for (int64_t c = 0; c < m; ++c) x[c] = isEmpty ? 0 : x[c] / norm;
  }
  return r;
}

DoubleMatrix naiveProduct(const DoubleMatrix& a, const DoubleMatrix& b) {
  DoubleMatrix out(a.rows, b.rows);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.rows; ++j) {
      double sum = 0;
      for (int64_t c = 0; c < a.cols; ++c) sum += a(i, c) * b(j, c);
      out(i, j) = sum;
    }
  }
  return out;
}

DoubleMatrix widened(core::ConstMatrixView m) {
  DoubleMatrix out(m.rows, m.cols);
  for (int64_t r = 0; r < m.rows; ++r) std::copy_n(m.row(r), m.cols, out.row(r));
  return out;
}

DoubleMatrix orthonormalRows(int64_t k, int64_t m, uint64_t seed) {
  DoubleMatrix q = widened(randomMatrix(k, m, seed));
  for (int64_t j = 0; j < k; ++j) {
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t i = 0; i < j; ++i) {
        double dot = 0;
        for (int64_t c = 0; c < m; ++c) dot += q(j, c) * q(i, c);
        for (int64_t c = 0; c < m; ++c) q(j, c) -= dot * q(i, c);
      }
    }
    double norm = 0;
    for (int64_t c = 0; c < m; ++c) norm += q(j, c) * q(j, c);
    for (int64_t c = 0; c < m; ++c) q(j, c) /= std::sqrt(norm);
  }
  return q;
}

}  // namespace headscope::tests
