#include "core/weights/input_statistics.h"

#include <cblas.h>

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

}  // namespace

InputStatistics::InputStatistics(const Model& model, uint64_t limitBytes) : width_(model.spec().width) {
  const int64_t layers = model.spec().layers;
  const double bytes = static_cast<double>(layers) * static_cast<double>(width_) * static_cast<double>(width_) * 8;
  if (bytes > static_cast<double>(limitBytes)) {
    throw Error("the covariances of " + std::to_string(layers) + " layers of width " + std::to_string(width_) + " would take " +
                    std::to_string(static_cast<int64_t>(bytes / 1e9)) + " GB",
                model.name());
  }
  sums_.assign(static_cast<size_t>(layers), std::vector<double>(static_cast<size_t>(width_), 0.0));
  for (int64_t l = 0; l < layers; ++l) squares_.emplace_back(width_, width_);
}

void InputStatistics::add(const Trace& trace, Job& job) {
  const int64_t n = trace.count(), d = width_;
  parallelFor(
      std::min<int64_t>(trace.layersRun(), static_cast<int64_t>(sums_.size())),
      [&](int64_t l) {
        const NormWeights norm = trace.model().attentionNorm(l);
        const ConstMatrixView x = trace.hidden(l);
        DoubleMatrix rows(n, d);
        std::vector<double>& sum = sums_[static_cast<size_t>(l)];
        for (int64_t i = 0; i < n; ++i) {
          normRow(trace.spec(), norm, x.row(i), rows.row(i));
          for (int64_t c = 0; c < d; ++c) sum[static_cast<size_t>(c)] += rows(i, c);
        }
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, static_cast<int>(d), static_cast<int>(n), 1.0, rows.data(), static_cast<int>(d),
                    1.0, squares_[static_cast<size_t>(l)].data(), static_cast<int>(d));
      },
      &job);
  tokens_ += n;
}

LayerInput InputStatistics::layer(int64_t index) const {
  if (tokens_ < 2) throw Error("a covariance needs at least two tokens", std::to_string(tokens_) + " tokens");
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
