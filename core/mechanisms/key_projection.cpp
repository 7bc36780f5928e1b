#include "core/mechanisms/key_projection.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/weights/dense.h"

namespace headscope::core {
namespace {

std::vector<double> meanRow(ConstMatrixView rows) {
  std::vector<double> mean(static_cast<size_t>(rows.cols), 0.0);
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t c = 0; c < rows.cols; ++c) mean[static_cast<size_t>(c)] += rows(r, c) / static_cast<double>(rows.rows);
  }
  return mean;
}

DoubleMatrix centred(ConstMatrixView rows, const std::vector<double>& mean) {
  DoubleMatrix out = DoubleMatrix::from(rows);
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t c = 0; c < out.cols; ++c) out(r, c) -= mean[static_cast<size_t>(c)];
  }
  return out;
}

/// [rows, 2]; 0 along an axis that there is not.
Matrix projected(ConstMatrixView rows, const std::vector<double>& mean, const DoubleMatrix& axes) {
  const DoubleMatrix along = multiplyTransposed(centred(rows, mean), axes);
  Matrix out = Matrix::zeros(rows.rows, 2);
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t a = 0; a < along.cols; ++a) out(r, a) = static_cast<float>(along(r, a));
  }
  return out;
}

}  // namespace

KeyProjection projectKeys(ConstMatrixView keys, ConstMatrixView centres) {
  const std::vector<double> mean = meanRow(keys);
  const DoubleMatrix spread = centred(keys, mean), covariance = transposedMultiply(spread, spread);
  DoubleMatrix vectors;
  const std::vector<double> values = symmetricEigen(covariance, vectors);
  DoubleMatrix axes(std::min<int64_t>(2, keys.cols), keys.cols);
  KeyProjection out;
  double all = 0;
  for (int64_t i = 0; i < keys.cols; ++i) all += covariance(i, i);
  for (int64_t a = 0; a < axes.rows; ++a) {
    const double* from = vectors.row(a);
    const double* largest = std::max_element(from, from + keys.cols, [](double x, double y) { return std::abs(x) < std::abs(y); });
    for (int64_t c = 0; c < keys.cols; ++c) axes(a, c) = *largest < 0 ? -from[c] : from[c];
    out.explained[a] = all > 0 ? values[static_cast<size_t>(a)] / all : 0;
  }
  out.keys = projected(keys, mean, axes);
  out.centres = projected(centres, mean, axes);
  return out;
}

}  // namespace headscope::core
