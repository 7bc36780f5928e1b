// CudaBackend's products: stored weights decoded in row tiles, adapters as factors beside them, logits in tiles of the vocabulary.
#include <algorithm>
#include <cmath>
#include <vector>

#include "gpu/cuda_backend.h"

namespace headscope::gpu {
namespace {

/// Floats of decoded weights held at once.
constexpr int64_t kTileFloats = int64_t{16} << 20;
/// Vocabulary entries whose logits are held at once.
constexpr int64_t kVocabularyTile = 4096;

int64_t tileRows(int64_t inputs) { return std::max<int64_t>(1, kTileFloats / std::max<int64_t>(1, inputs)); }

}  // namespace

CudaBackend::StagedWeights CudaBackend::onDevice(const core::WeightView& view) {
  const auto bytes = static_cast<size_t>(view.storedRows * view.storedCols) * core::sizeOf(view.dtype);
  StagedWeights staged{};
  DeviceWeights& w = staged.view;
  w.stored = weights_->get(view.data, bytes);
  w.dtype = view.dtype;
  w.storedCols = view.storedCols;
  w.isInByOut = view.isInByOut;
  w.outFirst = view.outFirst, w.outGroupSize = view.outGroupSize, w.outGroupStride = view.outGroupStride;
  w.inFirst = view.inFirst, w.inCount = view.inCount;
  w.scaleCols = view.scaleCols, w.blockRows = view.blockRows, w.blockCols = view.blockCols;
  if (view.scales != nullptr) {  // one number a block: read on the host whatever their type and place
    const int64_t scaleRows = (view.storedRows + view.blockRows - 1) / view.blockRows;
    std::vector<float> scales(static_cast<size_t>(scaleRows * view.scaleCols));
    for (int64_t r = 0; r < scaleRows; ++r) {
      for (int64_t c = 0; c < view.scaleCols; ++c) {
        scales[static_cast<size_t>(r * view.scaleCols + c)] = view.scaleAt(r * view.blockRows, c * view.blockCols);
      }
    }
    staged.scales = DeviceArray<float>(std::span<const float>(scales), stream_);
    w.scales = staged.scales.data();
  }
  return staged;
}

const float* CudaBackend::onDevice(const core::Matrix& matrix) {
  return reinterpret_cast<const float*>(
      weights_->get(reinterpret_cast<const std::byte*>(matrix.data()), static_cast<size_t>(matrix.size()) * sizeof(float)));
}

void CudaBackend::multiply(const DeviceMatrix& x, const float* w, int64_t wStride, int64_t outputs, float beta, const DeviceMatrix& out) {
  if (x.rows == 0 || outputs == 0) return;
  const float one = 1.0f;
  check(cublasSgemm_64(blas_, CUBLAS_OP_T, CUBLAS_OP_N, outputs, x.rows, x.cols, &one, w, wStride, x.data, x.stride, &beta, out.data,
                       out.stride),
        "a matrix product");
}

void CudaBackend::product(const DeviceMatrix& x, const core::WeightView& view, bool isAdded, const DeviceMatrix& out) {
  const StagedWeights staged = onDevice(view);
  const DeviceWeights& w = staged.view;
  const float one = 1.0f, beta = isAdded ? 1.0f : 0.0f;
  const bool isPlain = view.dtype == core::DType::F32 && view.scales == nullptr && view.outGroups == 1;
  const auto* stored = static_cast<const float*>(w.stored);
  if (isPlain && !view.isInByOut) {
    return multiply(x, stored + view.outFirst * view.storedCols + view.inFirst, view.storedCols, view.outputs(), beta, out);
  }
  if (isPlain) {  // stored [in, out]: the transposed product, in place
    check(cublasSgemm_64(blas_, CUBLAS_OP_N, CUBLAS_OP_N, view.outputs(), x.rows, x.cols, &one,
                         stored + view.inFirst * view.storedCols + view.outFirst, view.storedCols, x.data, x.stride, &beta, out.data,
                         out.stride),
          "a matrix product");
    return;
  }
  const int64_t step = std::min(tileRows(view.inputs()), view.outputs());
  const DeviceArray<float> decoded(step * view.inputs(), stream_);
  for (int64_t first = 0; first < view.outputs(); first += step) {
    const int64_t count = std::min(step, view.outputs() - first);
    decodeRows(w, first, count, decoded.data(), stream_);
    multiply(x, decoded.data(), view.inputs(), count, beta, {out.data + first, out.rows, count, out.stride});
  }
}

void CudaBackend::addLinear(const DeviceMatrix& x, const core::Linear& weights, bool isAdded, const DeviceMatrix& out) {
  product(x, weights.weight, isAdded, out);
  const core::LinearChange* change = weights.change.get();
  if (change == nullptr) return;
  for (const core::LowRank& term : change->terms) {
    const int64_t rank = term.down.rows();
    if (rank == 0) continue;
    const DeviceArray<float> inner(x.rows * rank, stream_);
    const DeviceMatrix projected{inner.data(), x.rows, rank, rank};
    multiply(x, onDevice(term.down), term.down.cols(), rank, 0.0f, projected);
    multiply(projected, onDevice(term.up), term.up.cols(), term.up.rows(), 1.0f, out);
  }
}

void CudaBackend::linear(const core::Tensor& x, const core::Linear& weights, core::Into into, const core::Tensor& out, core::Job& job) {
  const Lock lock = begin(job);
  const bool isScaled = weights.change != nullptr && !weights.change->rowScale.empty();
  if (isScaled && into == core::Into::Add) {  // the scale is of this product alone
    const core::Tensor apart = allocate(out.rows, out.cols);
    linear(x, weights, core::Into::Replace, apart, job);
    addRows(matrix(out), matrix(apart), stream_);
    return;
  }
  addLinear(matrix(x), weights, into == core::Into::Add, matrix(out));
  if (isScaled) scaleColumns(matrix(out), DeviceArray<float>(std::span<const float>(weights.change->rowScale), stream_).data(), stream_);
  if (!weights.bias.empty()) addBias(matrix(out), DeviceArray<float>(std::span<const float>(weights.bias), stream_).data(), stream_);
}

core::LogitSummary CudaBackend::logitSummary(const core::Tensor& x, const core::Linear& unembedding, double softcap,
                                             std::span<const int32_t> targets, core::Job& job) {
  const Lock lock = begin(job);
  const int64_t vocabulary = unembedding.outputs();
  const auto count = static_cast<size_t>(x.rows);
  const std::vector<float> lowest(count, -INFINITY), unknown(count, NAN);
  const std::vector<double> zeros(count, 0.0);
  const DeviceArray<float> max(std::span<const float>(lowest), stream_), target(std::span<const float>(unknown), stream_);
  const DeviceArray<double> sum(std::span<const double>(zeros), stream_);
  const DeviceArray<int32_t> wanted(targets, stream_);
  const bool isAdapted = unembedding.change != nullptr;
  // Factors of an adapted unembedding apply to all rows, so that it is one tile. Rare.
  const core::Tensor logits = allocate(x.rows, isAdapted ? vocabulary : std::min(vocabulary, kVocabularyTile));
  for (int64_t first = 0; first < vocabulary; first += logits.cols) {
    job.checkpoint();
    const int64_t tile = std::min(logits.cols, vocabulary - first);
    const core::Tensor part = logits.colsFrom(0, tile);
    if (isAdapted) {
      linear(x, unembedding, core::Into::Replace, part, job);
    } else {
      core::Linear rows;
      rows.weight = unembedding.weight.outputsFrom(first, tile);
      if (!unembedding.bias.empty()) rows.bias.assign(unembedding.bias.begin() + first, unembedding.bias.begin() + first + tile);
      linear(x, rows, core::Into::Replace, part, job);
    }
    if (softcap > 0) softcapAll(matrix(part), static_cast<float>(softcap), stream_);
    summariseLogits(matrix(part), first, wanted.data(), max.data(), sum.data(), target.data(), stream_);
  }
  core::LogitSummary summary{std::vector<double>(count), std::vector<float>(count)};
  std::vector<float> top(count);
  check(cudaMemcpyAsync(summary.logSumExp.data(), sum.data(), count * sizeof(double), cudaMemcpyDeviceToHost, stream_),
        "copying from the device");
  check(cudaMemcpyAsync(top.data(), max.data(), count * sizeof(float), cudaMemcpyDeviceToHost, stream_), "copying from the device");
  check(cudaMemcpyAsync(summary.target.data(), target.data(), count * sizeof(float), cudaMemcpyDeviceToHost, stream_),
        "copying from the device");
  synchronise("summarising logits");
  for (size_t n = 0; n < count; ++n) summary.logSumExp[n] = static_cast<double>(top[n]) + std::log(summary.logSumExp[n]);
  return summary;
}

}  // namespace headscope::gpu
