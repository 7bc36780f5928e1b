#pragma once
// CudaBackend: core's Backend on one NVIDIA card. One stream, one lock: operations are queued in the order they are called and
// run ahead of the caller; what returns numbers waits. Products by cuBLAS in float32 with TF32 off, unless setPrecision() asked
// for less; weights stay as stored on the card and are decoded in row tiles; scores exist one tile, or one block of rows, at a time.
// Products of float32 with weights that are bf16 run on tensor cores with x in three exact parts (gpu/arithmetic/bf16_terms.h): no factor
// is rounded and sums are float32, so they are float32 products, by another route; a card whose sums are coarser fails its self-test for
// them and makes them whole (splitsProducts()).
// An operation that throws OutOfMemory has not changed its operands: scratch is taken before the first write.
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/backend/backend.h"
#include "gpu/arithmetic/row_choice.h"
#include "gpu/device/device_memory.h"
#include "gpu/device/weight_cache.h"
#include "gpu/kernels/kernels.h"
#include "gpu/kernels/weight_kernels.h"

namespace headscope::gpu {

class CudaBackend : public core::Backend {
 public:
  /// Throws core::Error with the reason when no card can be used: no driver, too old a driver, no device, too old a device.
  CudaBackend();
  ~CudaBackend() override;

  std::string name() const override { return "cuda"; }
  std::string device() const override;
  std::string identity() const override { return identity_; }
  bool supports(core::Op) const override { return true; }
  core::Precision precision() const override { return precision_; }
  void setPrecision(core::Precision precision) override;
  bool splitsProducts() const override { return splitsProducts_; }
  void leaveSplitProducts() override { splitsProducts_ = false; }

  core::Tensor allocate(int64_t rows, int64_t cols) override;
  void write(core::ConstMatrixView from, const core::Tensor& to) override;
  void read(const core::Tensor& from, core::MatrixView to) override;
  void copy(const core::Tensor& from, const core::Tensor& to) override;
  const float* hostData(const core::Tensor&) const override { return nullptr; }
  void keepWeights(std::shared_ptr<const void> owner) override;
  bool fetchesWeights() const override { return true; }
  void expectWeights(std::span<const core::WeightView> weights) override;
  bool dropCopies() override;

  void embed(const core::WeightView& table, std::span<const int32_t> ids, float scale, core::Into into, const core::Tensor& out,
             core::Job& job) override;
  void linear(const core::Tensor& x, const core::Linear& weights, core::Into into, const core::Tensor& out, core::Job& job) override;
  void norm(const core::Tensor& x, const core::NormRule& rule, const core::NormWeights& weights, const core::Tensor& out,
            core::Job& job) override;
  void rope(const core::Tensor& x, const core::RopeRule& rule, const core::RopeSpec& spec, core::Job& job) override;
  void activate(const core::Tensor& x, core::Activation activation, core::Job& job) override;
  void gate(const core::Tensor& x, const core::Tensor& gate, core::Activation activation, core::Job& job) override;
  void add(const core::Tensor& x, const core::Tensor& y, core::Job& job) override;
  void scale(const core::Tensor& x, float factor, core::Job& job) override;
  void softcap(const core::Tensor& x, float cap, core::Job& job) override;
  void copyHeads(const core::Tensor& from, int64_t fromHeads, const core::Tensor& to, int64_t heads, int64_t toOffset,
                 core::Job& job) override;
  void gatherRows(const core::Tensor& x, std::span<const int32_t> rows, const core::Tensor& out, core::Job& job) override;
  void scatterRows(const core::Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const core::Tensor& out,
                   core::Job& job) override;
  std::vector<float> rowNorms(const core::Tensor& x, core::Job& job) override;

  core::AttentionStatistics attention(const core::AttentionInput& input, const core::Tensor& out, core::Job& job) override;
  core::Matrix mapTile(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                       const core::TileRequest& request, core::Job& job) override;
  std::vector<float> columnMass(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                                core::Job& job) override;
  core::Matrix patternSums(const core::AttentionInput& input, const core::AttentionStatistics& rows, const core::RowPattern& pattern,
                           core::Job& job) override;
  core::KeysNeeded keysNeeded(const core::AttentionInput& input, const core::AttentionStatistics& rows, const core::Matrix* keyWeights,
                              std::span<const double> shares, core::Job& job) override;
  core::LogitSummary logitSummary(const core::Tensor& x, const core::Linear& unembedding, double softcap, std::span<const int32_t> targets,
                                  core::Job& job) override;

  core::SpectraResult spectra(const core::SpectraBatch& batch, const core::Job& job) override;
  std::vector<core::DoubleMatrix> innerProducts(std::span<const core::FactorPair> pairs, const core::Job& job) override;
  std::vector<core::SmallSvd> smallSvds(std::span<const core::DoubleMatrix> cores, bool withVectors, const core::Job& job) override;
  std::vector<double> wholeSpectrum(core::ConstMatrixView rows, core::SpectrumRoute route, const core::Job& job) override;
  core::StackDirections stackDirections(core::ConstMatrixView stack, int64_t perHead, const core::Job& job) override;
  void squareProduct(const core::Tensor& x, const core::Tensor& w, const core::Tensor& out, const core::Job& job) override;
  core::Matrix tableProduct(core::ConstMatrixView x, const core::WeightView& table, const core::Job& job) override;
  void addPairSums(const core::PairStrip& a, const core::PairStrip& b, const core::PairPlan& plan, std::span<double> sums,
                   const core::Job& job) override;
  core::MaskedRows maskedAttention(const core::MaskedHead& head, const core::RangeList& seen, core::MatrixView out,
                                   const core::Job& job) override;
  core::ChosenRows chosenAttention(const core::MaskedHead& head, const core::KeyChoice& choice, core::MatrixView out,
                                   const core::Job& job) override;
  core::Matrix chosenTile(const core::MaskedHead& head, const core::KeyChoice& choice, const core::TileRequest& request,
                          const core::Job& job) override;

 private:
  using Lock = std::unique_lock<std::recursive_mutex>;
  Lock begin(const core::Job& job);

  DeviceMatrix matrix(const core::Tensor& tensor) const { return {deviceData(tensor), tensor.rows, tensor.cols, tensor.stride}; }
  /// A view's stored bytes on the device; its block scales live as long as this.
  struct StagedWeights {
    DeviceWeights view;
    DeviceArray<float> scales;
  };
  StagedWeights onDevice(const core::WeightView& view);
  /// An adapter's factor, valid as long as its owner.
  const float* onDevice(const core::Matrix& matrix, const std::shared_ptr<const core::LinearChange>& owner);
  /// out = x W^T (+ out when isAdded): decoded in row tiles, or in place where the stored numbers are float32.
  void product(const DeviceMatrix& x, const core::WeightView& view, bool isAdded, const DeviceMatrix& out);
  /// out = beta out + x w^T, w [outputs, inputs] with row stride.
  void multiply(const DeviceMatrix& x, const float* w, int64_t wStride, int64_t outputs, float beta, const DeviceMatrix& out);
  /// The same on tensor cores with bf16 weights: x rounded to bf16, or exact in kBf16Terms terms (gpu/arithmetic/bf16_terms.h).
  void productBf16(const DeviceMatrix& x, const core::WeightView& view, bool inTerms, bool isAdded, const DeviceMatrix& out);
  /// bf16 weights on the device, [outputs, inputs] with a row stride, or [inputs, outputs].
  struct Bf16Factor {
    const uint16_t* data;
    int64_t inputs, outputs, stride;
    bool isInByOut;
  };
  /// out (+)= sum over terms of parts w^T; parts [terms, out.rows, inputs], smallest term first.
  void multiplyTerms(const uint16_t* parts, int64_t terms, const Bf16Factor& w, bool isAdded, const DeviceMatrix& out);
  /// Whether the product in float32 is made of exact bf16 terms: the card's tensor cores pay for three, the weights are bf16 exactly.
  bool isSplit(const core::WeightView& view) const;
  void addLinear(const DeviceMatrix& x, const core::Linear& weights, bool isAdded, const DeviceMatrix& out);
  /// How a layer is computed: one kernel in float32; one kernel on tensor cores in bf16; or, in TF32 and for heads wider than both kernels
  /// take, blocks of rows by cuBLAS.
  enum class AttentionWay { Tiles, Tensors, Blocks };
  AttentionWay wayOf(const core::AttentionRule& rule) const;
  void attendTiled(const core::AttentionInput& input, const core::Tensor& out, const core::AttentionStatistics& rows, const core::Job& job);
  void attendTensors(const core::AttentionInput& input, const core::Tensor& out, const core::AttentionStatistics& rows,
                     const core::Job& job);
  /// launch(first, heads) for as many heads at a time as may be queued before somebody looks whether the job was cancelled.
  void forHeads(const core::AttentionInput& input, const core::Job& job, const std::function<void(int64_t, int64_t)>& launch);
  /// Raw scores of heads [firstHead, firstHead + block.heads), into block.scores.
  void scores(const core::AttentionInput& input, int64_t firstHead, const ScoreBlock& block);
  /// out of the block's rows = weights times values, for all heads.
  void weightedValues(const core::AttentionInput& input, const ScoreBlock& block, const core::Tensor& out);
  /// Rows [firstRow, + rows) and the keys that any of them may see.
  static ScoreBlock blockOf(const core::AttentionInput& input, int64_t heads, int64_t firstRow, int64_t rows, float* scores);
  /// Calls work for blocks of rows that keep the scores of `heads` heads within kScoreBytes; keys are those that any row may see.
  void forEachBlock(const core::AttentionInput& input, int64_t heads, int64_t firstRow, int64_t rows, const core::Job& job,
                    const std::function<void(ScoreBlock&)>& work);
  void synchronise(const char* what) { check(cudaStreamSynchronize(stream()), what); }
  cudaStream_t stream() const { return stream_->get(); }
  cublasHandle_t blas() const { return blas_.get(); }
  cusolverDnHandle_t solver();

  /// Calls work with the weights of every block of rows, which begins on a cell's first key, and its first row in the head; returns what
  /// is known of all rows (cuda_chosen.cpp).
  std::vector<RowSums> chooseBlocks(const core::MaskedHead& head, const core::KeyChoice& choice, int64_t level, const core::Job& job,
                                    const std::function<void(const ScoreBlock&, int64_t)>& work);

  // Weights (cuda_weights.cpp, cuda_whole.cpp, cuda_pair_sums.cpp)
  class FloatProducts;  // products in float32 while it lives, whatever the precision is
  /// The matrices' rows packed, one after another.
  void sendAll(std::span<const core::ConstMatrixView> from, float* device);
  /// The rows in double, [rows, cols] packed.
  DeviceArray<double> widened(core::ConstMatrixView rows);
  /// A factor in double, through its matrix where it has one.
  DeviceArray<double> seen(const core::FactorRows& factor);
  /// out [p, q] = beta out + a b^T, a [p, m], b [q, m] packed.
  void multiplyDouble(const double* a, int64_t p, const double* b, int64_t q, int64_t m, double beta, double* out);
  /// Eigenvalues, ascending, of a symmetric matrix [n, n], which is overwritten: by its eigenvectors as rows when they are wanted.
  DeviceArray<double> eigenvalues(const DeviceArray<double>& matrix, int64_t n, bool withVectors);
  /// m m^T of a matrix in host memory, in double; its transpose's where it is taller than wide.
  DeviceArray<double> shortGram(core::ConstMatrixView m, const core::Job& job);
  std::vector<double> exactValues(core::ConstMatrixView rows);
  struct CardStrip;
  std::shared_ptr<const CardStrip> onCard(const core::PairStrip& strip);
  void orthogonaliseAll(std::vector<SvdTask> tasks);
  struct FactorGrams;
  FactorGrams gramsOf(std::span<const core::FactorRows> factors, const core::Job& job);
  /// Triangles by Householder's reflections, from the factors themselves; no Gram matrices.
  FactorGrams exactTriangles(std::span<const core::FactorRows> factors, const core::Job& job);
  /// Cholesky-QR2 for the factors whose first triangle is too rough.
  void refineTriangles(std::span<const core::FactorRows> factors, FactorGrams& grams, const core::Job& job);
  struct FusedCores;
  FusedCores coresOf(const core::SpectraBatch& batch, const FactorGrams& grams);

  struct EndBlas {
    void operator()(cublasContext* handle) const { cublasDestroy(handle); }
  };
  struct EndSolver {
    void operator()(cusolverDnContext* handle) const { cusolverDnDestroy(handle); }
  };

  mutable std::recursive_mutex mutex_;
  std::string device_, identity_;
  std::atomic<core::Precision> precision_{core::Precision::Float32};
  std::atomic<bool> splitsProducts_{false};
  // In this order: what is below uses the stream and goes before it
  std::shared_ptr<Stream> stream_;
  std::unique_ptr<cublasContext, EndBlas> blas_;
  std::unique_ptr<cusolverDnContext, EndSolver> solver_;  // made when first needed
  std::unique_ptr<PinnedPipe> pipe_;
  std::unique_ptr<WeightCache> weights_;
  std::shared_ptr<const CardStrip> stripOnCard_;  // of the last pair sums, while its owner lives
  std::weak_ptr<const void> ownerOfStrip_;
  DeviceArray<std::byte> workspace_;  // cuBLAS's own, so that no product has to take memory
};

}  // namespace headscope::gpu
