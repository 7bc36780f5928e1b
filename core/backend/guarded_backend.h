#pragma once
// GuardedBackend: a device's backend that can't be the end of a job. Every operation goes to the device; where its memory is
// short even when copies of weights were given up, or where the operation failed its self-test, the operands are fetched and the host
// computes it (they stay on the host from then on). When the device is lost, what lay on it is gone: operations on such tensors throw a
// lost DeviceFault that says so, everything new is computed on the host, and runForward starts its pass again. reason() tells what
// happened.
//
// Relies on this of the device: an operation that throws OutOfMemory has not changed its operands.
#include <array>
#include <atomic>
#include <initializer_list>
#include <memory>
#include <optional>

#include "core/backend/backend.h"
#include "core/backend/device_fault.h"

namespace headscope::core {

class GuardedBackend : public Backend {
 public:
  GuardedBackend(std::shared_ptr<Backend> device, std::shared_ptr<Backend> host);

  std::string name() const override { return current().name(); }
  std::string device() const override { return current().device(); }
  std::string identity() const override { return device_->identity(); }
  /// Of the device: an operation that the host computes in its place is not supported.
  bool supports(Op op) const override;
  Precision precision() const override { return current().precision(); }
  void setPrecision(Precision precision) override { device_->setPrecision(precision); }
  /// The host computes this operation from now on.
  void withdraw(Op op) { withdrawn_[static_cast<size_t>(op)] = true; }
  bool isLost() const { return isLost_; }

  Tensor allocate(int64_t rows, int64_t cols) override;
  void write(ConstMatrixView from, const Tensor& to) override;
  void read(const Tensor& from, MatrixView to) override;
  void copy(const Tensor& from, const Tensor& to) override;
  const float* hostData(const Tensor& tensor) const override;
  void keepWeights(std::shared_ptr<const void> owner) override;
  bool fetchesWeights() const override { return current().fetchesWeights(); }
  void expectWeights(std::span<const WeightView> weights) override;

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
  class Place;  // where a tensor's numbers lie now
  const Backend& current() const { return isLost_ ? *host_ : *device_; }
  /// work(backend, translate): on the device when it is there, has the operation and holds all tensors, else on the host.
  template <class Work>
  auto run(std::optional<Op> op, std::initializer_list<const Tensor*> tensors, Work work);  // no op: memory
  template <class Work>
  auto runAttention(Op op, const AttentionInput& input, const AttentionStatistics* rows, Work work);
  void report(const DeviceFault& fault, const std::string& what);
  void moveToHost(const Tensor& tensor);
  Tensor wrap(Tensor inner, bool isOnHost) const;
  static bool isOnHost(const Tensor& tensor);
  static Tensor inner(const Tensor& tensor);

  std::shared_ptr<Backend> device_, host_;
  std::atomic<bool> isLost_{false};
  std::array<std::atomic<bool>, kOpCount> withdrawn_{};
};

}  // namespace headscope::core
