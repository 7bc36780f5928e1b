// CudaBackend's products: stored weights decoded in row tiles, adapters as factors beside them, logits in tiles of the vocabulary.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/checkpoint/stored_span.h"
#include "gpu/arithmetic/bf16_terms.h"
#include "gpu/cuda_backend.h"

namespace headscope::gpu {
namespace {

/// Floats of decoded weights held at once.
constexpr int64_t kTileFloats = int64_t{16} << 20;
/// Bytes of bf16 terms of x held at once.
constexpr int64_t kTermBytes = int64_t{512} << 20;
/// Products that one sum on tensor cores takes at most where it stands for a float32 sum.
constexpr int64_t kLongestSum = 4096;
/// Vocabulary entries whose logits are held at once.
constexpr int64_t kVocabularyTile = 4096;
/// Tokens whose logits are held at once where an adapter acts on the unembedding.
constexpr int64_t kAdaptedTokens = 256;

/// All outputs of the stored tensor's rows (or columns) in one run, without scales: usable where they lie.
bool isWholeRange(const core::WeightView& w) { return w.scales == nullptr && (w.outGroups == 1 || w.outGroupStride == w.outGroupSize); }

int64_t tileRows(int64_t inputs) { return std::max<int64_t>(1, kTileFloats / std::max<int64_t>(1, inputs)); }

}  // namespace

CudaBackend::StagedWeights CudaBackend::onDevice(const core::WeightView& view) {
  StagedWeights staged{};
  DeviceWeights& w = staged.view;
  w.stored = weights_->get(view.data, core::storedSpan(view).size());
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
    staged.scales = DeviceArray<float>(std::span<const float>(scales), *pipe_);
    w.scales = staged.scales.data();
  }
  return staged;
}

const float* CudaBackend::onDevice(const core::Matrix& matrix, const std::shared_ptr<const core::LinearChange>& owner) {
  // The change and not the model vouches for the place: slices of a change live for one product
  return reinterpret_cast<const float*>(
      weights_->get(reinterpret_cast<const std::byte*>(matrix.data()), static_cast<size_t>(matrix.size()) * sizeof(float), owner));
}

void CudaBackend::multiply(const DeviceMatrix& x, const float* w, int64_t wStride, int64_t outputs, float beta, const DeviceMatrix& out) {
  if (x.rows == 0 || outputs == 0) return;
  const float one = 1.0f;
  check(cublasSgemm_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, outputs, x.rows, x.cols, &one, w, wStride, x.data, x.stride, &beta, out.data,
                       out.stride),
        "a matrix product");
}

void CudaBackend::product(const DeviceMatrix& x, const core::WeightView& view, bool isAdded, const DeviceMatrix& out) {
  if (x.rows == 0 || view.outputs() == 0) return;
  if (precision_ == core::Precision::Bf16) return productBf16(x, view, false, isAdded, out);
  if (isSplit(view)) return productBf16(x, view, true, isAdded, out);
  const StagedWeights staged = onDevice(view);
  const float one = 1.0f, beta = isAdded ? 1.0f : 0.0f;
  const bool isPlain = view.dtype == core::DType::F32 && isWholeRange(view);
  const auto* stored = static_cast<const float*>(staged.view.stored);
  if (isPlain && !view.isInByOut) {
    return multiply(x, stored + view.outFirst * view.storedCols + view.inFirst, view.storedCols, view.outputs(), beta, out);
  }
  if (isPlain) {  // stored [in, out]: the transposed product, in place
    check(cublasSgemm_64(blas(), CUBLAS_OP_N, CUBLAS_OP_N, view.outputs(), x.rows, x.cols, &one,
                         stored + view.inFirst * view.storedCols + view.outFirst, view.storedCols, x.data, x.stride, &beta, out.data,
                         out.stride),
          "a matrix product");
    return;
  }
  const int64_t step = std::min(tileRows(view.inputs()), view.outputs());
  const DeviceArray<float> decoded(step * view.inputs(), stream());
  for (int64_t first = 0; first < view.outputs(); first += step) {
    const int64_t count = std::min(step, view.outputs() - first);
    decodeRows(staged.view, first, count, decoded.data(), stream());
    multiply(x, decoded.data(), view.inputs(), count, beta, {out.data + first, out.rows, count, out.stride});
  }
}

bool CudaBackend::isSplit(const core::WeightView& view) const {
  if (!splitsProducts_ || precision_ != core::Precision::Float32) return false;
  if (view.dtype == core::DType::BF16) return view.scales == nullptr;
  if (view.dtype != core::DType::F8_E4M3) return false;
  const int64_t scaleRows = view.scales == nullptr ? 0 : (view.storedRows + view.blockRows - 1) / view.blockRows;
  for (int64_t r = 0; r < scaleRows; ++r) {
    for (int64_t c = 0; c < view.scaleCols; ++c) {
      if (!isExactScale(view.scaleAt(r * view.blockRows, c * view.blockCols))) return false;
    }
  }
  return true;
}

void CudaBackend::productBf16(const DeviceMatrix& x, const core::WeightView& view, bool inTerms, bool isAdded, const DeviceMatrix& out) {
  const StagedWeights staged = onDevice(view);
  const bool isPlain = view.dtype == core::DType::BF16 && isWholeRange(view);
  const int64_t step = isPlain ? view.outputs() : std::min(tileRows(view.inputs()), view.outputs()), terms = inTerms ? kBf16Terms : 1,
                most = std::clamp<int64_t>(kTermBytes / (2 * terms * std::max<int64_t>(1, x.cols)), 1, x.rows);
  const DeviceArray<uint16_t> parts(terms * most * x.cols, stream()), decoded(isPlain ? 0 : step * view.inputs(), stream());
  const auto* stored = static_cast<const uint16_t*>(staged.view.stored);
  const bool isTurned = isPlain && view.isInByOut;  // stored [in, out]: the transposed product, in place
  for (int64_t row = 0; row < x.rows; row += most) {
    const int64_t rows = std::min(most, x.rows - row);
    const DeviceMatrix some{x.data + row * x.stride, rows, x.cols, x.stride};
    inTerms ? toBf16Terms(some, parts.data(), stream()) : toBf16(some, 1, x.cols, parts.data(), stream());
    for (int64_t first = 0; first < view.outputs(); first += step) {
      Bf16Factor w{decoded.data(), view.inputs(), std::min(step, view.outputs() - first), view.inputs(), isTurned};
      if (isPlain) {
        w.data =
            isTurned ? stored + view.inFirst * view.storedCols + view.outFirst : stored + view.outFirst * view.storedCols + view.inFirst;
        w.stride = view.storedCols;
      } else {
        decodeRows(staged.view, first, w.outputs, decoded.data(), stream());
      }
      multiplyTerms(parts.data(), terms, w, isAdded, {out.data + row * out.stride + first, rows, w.outputs, out.stride});
    }
  }
}

void CudaBackend::multiplyTerms(const uint16_t* parts, int64_t terms, const Bf16Factor& w, bool isAdded, const DeviceMatrix& out) {
  const float one = 1.0f, zero = 0.0f;
  bool isBegun = isAdded;
  for (int64_t t = 0; t < terms; ++t) {
    // The largest term's sums go out to float32 now and then: tensor cores may cut off what does not fit where float32 rounds
    const int64_t most = terms > 1 && t == terms - 1 ? kLongestSum : w.inputs;
    for (int64_t first = 0; first < w.inputs; first += most) {
      const uint16_t* weights = w.data + first * (w.isInByOut ? w.stride : 1);
      check(cublasGemmEx_64(blas(), w.isInByOut ? CUBLAS_OP_N : CUBLAS_OP_T, CUBLAS_OP_N, w.outputs, out.rows,
                            std::min(most, w.inputs - first), &one, weights, CUDA_R_16BF, w.stride, parts + t * out.rows * w.inputs + first,
                            CUDA_R_16BF, w.inputs, isBegun ? &one : &zero, out.data, CUDA_R_32F, out.stride, CUBLAS_COMPUTE_32F,
                            CUBLAS_GEMM_DEFAULT),
            "a matrix product in bf16");
      isBegun = true;
    }
  }
}

void CudaBackend::addLinear(const DeviceMatrix& x, const core::Linear& weights, bool isAdded, const DeviceMatrix& out) {
  product(x, weights.weight, isAdded, out);
  if (weights.change == nullptr) return;
  for (const core::LowRank& term : weights.change->terms) {
    const int64_t rank = term.down.rows();
    if (rank == 0) continue;
    const DeviceArray<float> inner(x.rows * rank, stream());
    const DeviceMatrix projected{inner.data(), x.rows, rank, rank};
    multiply(x, onDevice(term.down, weights.change), term.down.cols(), rank, 0.0f, projected);
    multiply(projected, onDevice(term.up, weights.change), term.up.cols(), term.up.rows(), 1.0f, out);
  }
}

void CudaBackend::linear(const core::Tensor& x, const core::Linear& weights, core::Into into, const core::Tensor& out, core::Job& job) {
  const Lock lock = begin(job);
  if (weights.change != nullptr && into == core::Into::Add) {  // the scale is of this product alone, and short memory leaves out as it was
    const core::Tensor apart = allocate(out.rows, out.cols);
    linear(x, weights, core::Into::Replace, apart, job);
    addRows(matrix(out), matrix(apart), stream());
    return;
  }
  const DeviceArray<float> bias(std::span<const float>(weights.bias), *pipe_);
  addLinear(matrix(x), weights, into == core::Into::Add, matrix(out));
  if (weights.change != nullptr && !weights.change->rowScale.empty()) {
    const DeviceArray<float> scale(std::span<const float>(weights.change->rowScale), *pipe_);
    scaleColumns(matrix(out), scale.data(), stream());
  }
  if (!weights.bias.empty()) addBias(matrix(out), bias.data(), stream());
}

core::LogitSummary CudaBackend::logitSummary(const core::Tensor& x, const core::Linear& unembedding, double softcap,
                                             std::span<const int32_t> targets, core::Job& job) {
  const Lock lock = begin(job);
  // The factors of an adapted unembedding apply to all its rows: few tokens at a time then, else few vocabulary entries.
  const bool isAdapted = unembedding.change != nullptr;
  if (isAdapted && x.rows > kAdaptedTokens) {
    core::LogitSummary all;
    for (int64_t first = 0; first < x.rows; first += kAdaptedTokens) {
      const int64_t rows = std::min(kAdaptedTokens, x.rows - first);
      const core::LogitSummary part = logitSummary(x.rowsFrom(first, rows), unembedding, softcap,
                                                   targets.subspan(static_cast<size_t>(first), static_cast<size_t>(rows)), job);
      all.logSumExp.insert(all.logSumExp.end(), part.logSumExp.begin(), part.logSumExp.end());
      all.target.insert(all.target.end(), part.target.begin(), part.target.end());
    }
    return all;
  }
  const int64_t vocabulary = unembedding.outputs();
  const auto count = static_cast<size_t>(x.rows);
  const std::vector<float> lowest(count, -INFINITY), unknown(count, NAN);
  const std::vector<double> zeros(count, 0.0);
  const DeviceArray<float> max(std::span<const float>(lowest), *pipe_), target(std::span<const float>(unknown), *pipe_);
  const DeviceArray<double> sum(std::span<const double>(zeros), *pipe_);
  const DeviceArray<int32_t> wanted(targets, *pipe_);
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
    if (softcap > 0) softcapAll(matrix(part), static_cast<float>(softcap), stream());
    summariseLogits(matrix(part), first, wanted.data(), max.data(), sum.data(), target.data(), stream());
  }
  core::LogitSummary summary{sum.toHost(), target.toHost()};
  const std::vector<float> top = max.toHost();
  for (size_t n = 0; n < count; ++n) summary.logSumExp[n] = static_cast<double>(top[n]) + std::log(summary.logSumExp[n]);
  return summary;
}

}  // namespace headscope::gpu
