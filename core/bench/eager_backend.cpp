#include "core/bench/eager_backend.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/parallel.h"

namespace headscope::core {
namespace {

MatrixView viewOf(const Backend& backend, const Tensor& tensor) {
  return {const_cast<float*>(backend.hostData(tensor)), tensor.rows, tensor.cols, tensor.stride};
}

/// out = alpha x W^T (or x W) over all threads, each with its share of the rows.
void product(ConstMatrixView x, ConstMatrixView w, bool isTransposed, float alpha, MatrixView out) {
  const int64_t parts = std::min<int64_t>(threadCount(), x.rows);
  parallelFor(parts, [&](int64_t i) {
    const int64_t first = x.rows * i / parts, rows = x.rows * (i + 1) / parts - first;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, isTransposed ? CblasTrans : CblasNoTrans, static_cast<int>(rows), static_cast<int>(out.cols),
                static_cast<int>(x.cols), alpha, x.row(first), static_cast<int>(x.stride), w.data, static_cast<int>(w.stride), 0.0f,
                out.row(first), static_cast<int>(out.stride));
  });
}

void softmaxRow(float* row, int64_t visible, int64_t count) {
  float max = -std::numeric_limits<float>::infinity(), sum = 0;
  for (int64_t j = 0; j < visible; ++j) max = std::max(max, row[j]);
  for (int64_t j = 0; j < visible; ++j) sum += row[j] = std::exp(row[j] - max);
  for (int64_t j = 0; j < visible; ++j) row[j] /= sum;
  for (int64_t j = visible; j < count; ++j) row[j] = 0;
}

}  // namespace

void EagerBackend::linear(const Tensor& x, const Linear& weights, Into into, const Tensor& out, Job&) {
  const Matrix w = weights.weight.decode();
  Matrix y(x.rows, out.cols);
  product(viewOf(*this, x), w, true, 1.0f, y.view());
  MatrixView target = viewOf(*this, out);
  for (int64_t r = 0; r < y.rows(); ++r) {
    for (int64_t c = 0; c < y.cols(); ++c) {
      const float value = y(r, c) + (weights.bias.empty() ? 0.0f : weights.bias[static_cast<size_t>(c)]);
      target(r, c) = into == Into::Add ? target(r, c) + value : value;
    }
  }
}

void EagerBackend::activate(const Tensor& x, Activation activation, Job& job) {
  if (activation != Activation::GeluTanh) return CpuBackend::activate(x, activation, job);
  MatrixView v = viewOf(*this, x);
  for (int64_t r = 0; r < v.rows; ++r) {
    for (int64_t c = 0; c < v.cols; ++c) {
      const float t = v(r, c);
      v(r, c) = 0.5f * t * (1.0f + std::tanh(0.7978845608f * (t + 0.044715f * t * t * t)));
    }
  }
}

AttentionStatistics EagerBackend::attention(const AttentionInput& input, const Tensor& out, Job&) {
  const int64_t n = input.count(), k = input.rule.keyWidth, v = input.rule.valueWidth;
  for (int64_t h = 0; h < input.rule.heads; ++h) {
    Matrix& map = maps_.emplace_back(n, n);
    const int64_t g = input.rule.kvHeadOf(h);
    product(viewOf(*this, input.query.colsFrom(h * k, k)), viewOf(*this, input.key.colsFrom(g * k, k)), true,
            static_cast<float>(input.rule.scale), map.view());
    for (int64_t i = 0; i < n; ++i) softmaxRow(map.row(i), input.rule.endKey(i, n), n);
    product(map, viewOf(*this, input.value.colsFrom(g * v, v)), false, 1.0f, viewOf(*this, out.colsFrom(h * v, v)));
  }
  const Tensor none = upload(Matrix::zeros(input.rule.heads, n));
  return {none, none, none, none};
}

}  // namespace headscope::core
