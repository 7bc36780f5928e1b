#include "core/mechanisms/products.h"
#include "core/mechanisms/vector_math.h"

#include <cblas.h>

namespace headscope::core {
namespace {

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int64_t m, int64_t n, int64_t k, ConstMatrixView a, ConstMatrixView b, MatrixView c,
          float alpha, float beta, Work& work) {
  assert(c.rows == m && c.cols == n);
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t j = 0; j < n; ++j) c(r, j) = beta == 0.0f ? 0.0f : beta * c(r, j);
    }
    return;
  }
  cblas_sgemm(CblasRowMajor, ta, tb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a.data,
              static_cast<int>(a.stride), b.data, static_cast<int>(b.stride), beta, c.data, static_cast<int>(c.stride));
  work.operations += 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace

void product(ConstMatrixView a, ConstMatrixView b, MatrixView c, float alpha, float beta, Work& work) {
  assert(a.cols == b.rows);
  gemm(CblasNoTrans, CblasNoTrans, a.rows, b.cols, a.cols, a, b, c, alpha, beta, work);
}

void productByTransposed(ConstMatrixView a, ConstMatrixView b, MatrixView c, float alpha, float beta, Work& work) {
  assert(a.cols == b.cols);
  gemm(CblasNoTrans, CblasTrans, a.rows, b.rows, a.cols, a, b, c, alpha, beta, work);
}

void transposedProduct(ConstMatrixView a, ConstMatrixView b, MatrixView c, float alpha, float beta, Work& work) {
  assert(a.rows == b.rows);
  gemm(CblasTrans, CblasNoTrans, a.cols, b.cols, a.rows, a, b, c, alpha, beta, work);
}

void softmaxInPlace(MatrixView scores, Work& work) {
  for (int64_t r = 0; r < scores.rows; ++r) {
    Eigen::Map<Eigen::ArrayXf> row(scores.row(r), scores.cols);
    row = (row - row.maxCoeff()).exp();
    row *= 1.0f / row.sum();
  }
  work.operations += 4.0 * static_cast<double>(scores.rows) * static_cast<double>(scores.cols);
}

}  // namespace headscope::core
