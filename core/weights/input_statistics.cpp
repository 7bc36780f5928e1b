#include "core/weights/input_statistics.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/base/job.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

/// One row of the block's input as the projections read it, in double.
void normRow(const ModelSpec& spec, const NormWeights& norm, const float* x, double* y) {
  const int64_t d = spec.width;
  if (spec.normPlacement == NormPlacement::AfterSum || norm.empty()) {  // the stream is normed already
    for (int64_t c = 0; c < d; ++c) y[c] = x[c];
    return;
  }
  double mean = 0, square = 0;
  const bool centers = spec.norm == NormKind::LayerNorm;
  for (int64_t c = 0; centers && c < d; ++c) mean += x[c];
  mean /= static_cast<double>(d);
  for (int64_t c = 0; c < d; ++c) square += (x[c] - mean) * (x[c] - mean);
  const double scale = 1.0 / std::sqrt(square / static_cast<double>(d) + spec.normEps);
  for (int64_t c = 0; c < d; ++c) {
    const size_t s = static_cast<size_t>(c);
    y[c] = (x[c] - mean) * scale * norm.gain[s] + (norm.bias.empty() ? 0.0 : norm.bias[s]);
  }
}

/// [N, d]
DoubleMatrix inputRows(const Trace& trace, int64_t layer) {
  const NormWeights norm = trace.model().attentionNorm(layer);
  const ConstMatrixView x = trace.hidden(layer);
  DoubleMatrix rows(trace.count(), trace.spec().width);
  for (int64_t i = 0; i < rows.rows; ++i) normRow(trace.spec(), norm, x.row(i), rows.row(i));
  return rows;
}

void requireTokens(int64_t tokens) {
  if (tokens < 2) throw Error("a covariance needs at least two tokens", std::to_string(tokens) + " tokens");
}

}  // namespace

LayerInput layerInput(const Trace& trace, int64_t layer, Job& job) {
  requireTokens(trace.count());
  if (layer < 0 || layer >= trace.layersRun()) throw Error("the prompt did not run through this layer", "layer " + std::to_string(layer));
  const int64_t n = trace.count(), d = trace.spec().width;
  if (4 * n >= d) {  // squares of that many are taken in less time than they are made orthogonal
    InputStatistics statistics(trace.model(), uint64_t{8} << 30, {layer});
    statistics.add(trace, job);
    return statistics.layer(layer);
  }
  const DoubleMatrix rows = inputRows(trace, layer);
  LayerInput out;
  out.mean.assign(static_cast<size_t>(d), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < d; ++c) out.mean[static_cast<size_t>(c)] += rows(i, c) / static_cast<double>(n);
  }
  DoubleMatrix centred(d, n);
  const double scale = 1 / std::sqrt(static_cast<double>(n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < d; ++c) centred(c, i) = (rows(i, c) - out.mean[static_cast<size_t>(c)]) * scale;
  }
  job.checkpoint();
  DoubleMatrix triangle(d, d);
  const DoubleMatrix upper = thinQrR(std::move(centred));  // [n, d]
  std::copy(upper.values.begin(), upper.values.end(), triangle.values.begin());
  out.triangle = std::make_shared<const DoubleMatrix>(std::move(triangle));
  return out;
}

InputStatistics::InputStatistics(const Model& model, uint64_t limitBytes, const std::vector<int64_t>& layers) : width_(model.spec().width) {
  const int64_t all = model.spec().layers, kept = layers.empty() ? all : static_cast<int64_t>(layers.size());
  const double bytes = static_cast<double>(kept) * static_cast<double>(width_) * static_cast<double>(width_) * 8;
  if (bytes > static_cast<double>(limitBytes)) {
    throw Error("the covariances of " + std::to_string(kept) + " layers of width " + std::to_string(width_) + " would take " +
                    std::to_string(static_cast<int64_t>(bytes / 1e9)) + " GB",
                model.name());
  }
  sums_.resize(static_cast<size_t>(all));
  squares_.resize(static_cast<size_t>(all));
  for (int64_t l = 0; l < all; ++l) {
    if (!layers.empty() && std::find(layers.begin(), layers.end(), l) == layers.end()) continue;
    sums_[static_cast<size_t>(l)].assign(static_cast<size_t>(width_), 0.0);
    squares_[static_cast<size_t>(l)] = DoubleMatrix(width_, width_);
  }
}

void InputStatistics::add(const Trace& trace, Job& job) {
  const int64_t n = trace.count(), d = width_;
  parallelFor(
      std::min<int64_t>(trace.layersRun(), static_cast<int64_t>(sums_.size())),
      [&](int64_t l) {
        if (sums_[static_cast<size_t>(l)].empty()) return;
        const DoubleMatrix rows = inputRows(trace, l);
        std::vector<double>& sum = sums_[static_cast<size_t>(l)];
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t c = 0; c < d; ++c) sum[static_cast<size_t>(c)] += rows(i, c);
        }
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, static_cast<int>(d), static_cast<int>(n), 1.0, rows.data(), static_cast<int>(d),
                    1.0, squares_[static_cast<size_t>(l)].data(), static_cast<int>(d));
      },
      &job);
  tokens_ += n;
}

LayerInput InputStatistics::layer(int64_t index) const {
  requireTokens(tokens_);
  if (sums_[static_cast<size_t>(index)].empty()) throw Error("no covariance was kept of this layer", "layer " + std::to_string(index));
  LayerInput out;
  out.mean = sums_[static_cast<size_t>(index)];
  const double n = static_cast<double>(tokens_);
  for (double& m : out.mean) m /= n;
  DoubleMatrix covariance = squares_[static_cast<size_t>(index)];
  for (int64_t i = 0; i < width_; ++i) {
    for (int64_t j = i; j < width_; ++j) {
      covariance(i, j) = covariance(i, j) / n - out.mean[static_cast<size_t>(i)] * out.mean[static_cast<size_t>(j)];
      covariance(j, i) = covariance(i, j);
    }
  }
  out.triangle = std::make_shared<const DoubleMatrix>(choleskyFactor(covariance));
  return out;
}

}  // namespace headscope::core
