#pragma once
// CpuBackend: the reference implementation of Backend: BLAS for products, vector code for the rest, threads over tiles, heads
// and rows (core/base/parallel.h). Tensors lie in host memory, so hostData() is theirs and nothing is copied to be read.
#include <memory>

#include "core/backend/backend.h"
#include "core/backend/cpu/host_memory.h"

namespace headscope::core {

class CpuBackend : public Backend {
 public:
  std::string name() const override { return "cpu"; }
  std::string device() const override;
  bool supports(Op) const override { return true; }

  Tensor allocate(int64_t rows, int64_t cols) override;
  void write(ConstMatrixView from, const Tensor& to) override;
  void read(const Tensor& from, MatrixView to) override;
  void copy(const Tensor& from, const Tensor& to) override;
  const float* hostData(const Tensor& tensor) const override;

  void embed(const WeightView& table, std::span<const int32_t> ids, float scale, Into into, const Tensor& out, Job& job) override;
  void linear(const Tensor& x, const Linear& weights, Into into, const Tensor& out, Job& job) override;
  void norm(const Tensor& x, const NormRule& rule, const NormWeights& weights, const Tensor& out, Job& job) override;
  void rope(const Tensor& x, const RopeRule& rule, const RopeSpec& spec, Job& job) override;
  void activate(const Tensor& x, Activation activation, Job& job) override;
  void gate(const Tensor& x, const Tensor& gate, Activation activation, Job& job) override;
  void add(const Tensor& x, const Tensor& y, Job& job) override;
  void scale(const Tensor& x, float factor, Job& job) override;
  void softcap(const Tensor& x, float cap, Job& job) override;
  void copyHeads(const Tensor& from, int64_t fromHeads, const Tensor& to, int64_t heads, int64_t toOffset, Job& job) override;
  void gatherRows(const Tensor& x, std::span<const int32_t> rows, const Tensor& out, Job& job) override;
  void scatterRows(const Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const Tensor& out, Job& job) override;
  std::vector<float> rowNorms(const Tensor& x, Job& job) override;

  AttentionStatistics attention(const AttentionInput& input, const Tensor& out, Job& job) override;
  Matrix mapTile(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, const TileRequest& request, Job& job) override;
  std::vector<float> columnMass(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, Job& job) override;
  Matrix patternSums(const AttentionInput& input, const AttentionStatistics& rows, const RowPattern& pattern, Job& job) override;
  KeysNeeded keysNeeded(const AttentionInput& input, const AttentionStatistics& rows, const Matrix* keyWeights,
                        std::span<const double> shares, Job& job) override;
  LogitSummary logitSummary(const Tensor& x, const Linear& unembedding, double softcap, std::span<const int32_t> targets,
                            Job& job) override;

  SpectraResult spectra(const SpectraBatch& batch, const Job& job) override;
  std::vector<DoubleMatrix> innerProducts(std::span<const FactorPair> pairs, const Job& job) override;
  std::vector<SmallSvd> smallSvds(std::span<const DoubleMatrix> cores, bool withVectors, const Job& job) override;
  std::vector<double> wholeSpectrum(ConstMatrixView rows, SpectrumRoute route, const Job& job) override;
  StackDirections stackDirections(ConstMatrixView stack, int64_t perHead, const Job& job) override;
  void squareProduct(const Tensor& x, const Tensor& w, const Tensor& out, const Job& job) override;
  Matrix tableProduct(ConstMatrixView x, const WeightView& table, const Job& job) override;
  void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job) override;
  MaskedRows maskedAttention(const MaskedHead& head, const RangeList& seen, MatrixView out, const Job& job) override;
  ChosenRows chosenAttention(const MaskedHead& head, const KeyChoice& choice, MatrixView out, const Job& job) override;
  Matrix chosenTile(const MaskedHead& head, const KeyChoice& choice, const TileRequest& request, const Job& job) override;

 private:
  std::shared_ptr<cpu::HostMemory> memory_ = std::make_shared<cpu::HostMemory>();  // shared with the tensors in it
};

}  // namespace headscope::core
