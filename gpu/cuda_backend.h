#pragma once
// CudaBackend: core's Backend on one NVIDIA card. One stream, one lock: operations are queued in the order they are called and
// run ahead of the caller; what returns numbers waits. Products by cuBLAS in float32 with TF32 off; weights stay as stored on the
// card and are decoded in row tiles; scores exist one block of rows at a time.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/backend/backend.h"
#include "gpu/device/device_memory.h"
#include "gpu/device/weight_cache.h"
#include "gpu/kernels/kernels.h"

namespace headscope::gpu {

class CudaBackend : public core::Backend {
 public:
  /// Throws core::Error with the reason when no card can be used: no driver, too old a driver, no device, too old a device.
  CudaBackend();
  ~CudaBackend() override;

  std::string name() const override { return "cuda"; }
  std::string device() const override { return device_; }
  bool supports(core::Op) const override { return true; }

  core::Tensor allocate(int64_t rows, int64_t cols) override;
  void write(core::ConstMatrixView from, const core::Tensor& to) override;
  void read(const core::Tensor& from, core::MatrixView to) override;
  void copy(const core::Tensor& from, const core::Tensor& to) override;
  const float* hostData(const core::Tensor&) const override { return nullptr; }
  void keepWeights(std::shared_ptr<const void> owner) override;

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
  const float* onDevice(const core::Matrix& matrix);
  /// out = x W^T (+ out when isAdded): decoded in row tiles, or in place where the stored numbers are float32.
  void product(const DeviceMatrix& x, const core::WeightView& view, bool isAdded, const DeviceMatrix& out);
  /// out = beta out + x w^T, w [outputs, inputs] with row stride.
  void multiply(const DeviceMatrix& x, const float* w, int64_t wStride, int64_t outputs, float beta, const DeviceMatrix& out);
  void addLinear(const DeviceMatrix& x, const core::Linear& weights, bool isAdded, const DeviceMatrix& out);
  /// Raw scores of heads [firstHead, firstHead + block.heads), into block.scores.
  void scores(const core::AttentionInput& input, int64_t firstHead, const ScoreBlock& block);
  /// Calls work for blocks of rows that keep the scores of `heads` heads within kScoreBytes; keys are those that any row may see.
  void forEachBlock(const core::AttentionInput& input, int64_t heads, int64_t firstRow, int64_t rows, const core::Job& job,
                    const std::function<void(ScoreBlock&)>& work);
  void synchronise(const char* what) { check(cudaStreamSynchronize(stream_), what); }

  mutable std::recursive_mutex mutex_;
  std::string device_;
  cudaStream_t stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  std::unique_ptr<WeightCache> weights_;
};

}  // namespace headscope::gpu
