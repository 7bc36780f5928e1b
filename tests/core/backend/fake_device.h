#pragma once
// FakeDevice: the CPU in the part of a card, whose tensors the host can't read, and which fails when it is told to: short of
// memory once, lost for good, or wrong in its numbers.
#include <atomic>
#include <optional>
#include <set>
#include <utility>

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/device_fault.h"

namespace headscope::tests {

class FakeDevice : public core::CpuBackend {
 public:
  using Kind = core::DeviceFault::Kind;
  std::string name() const override { return "cuda"; }
  std::string device() const override { return "fake card"; }
  std::string identity() const override { return identity_; }
  const float* hostData(const core::Tensor&) const override { return nullptr; }
  bool fetchesWeights() const override { return true; }

  /// The call after `calls` more fails.
  void failAfter(int calls, Kind kind) { left_ = calls, kind_ = kind; }
  bool hasFailed() const { return left_ < 0; }
  int calls() const { return calls_; }
  std::set<core::Op> wrong;
  std::string identity_ = "fake card 1";
  bool splits = false, splitsCoarsely = false;  // float32 products in parts; with sums that lose digits
  bool splitsProducts() const override { return splits; }
  void leaveSplitProducts() override { splits = false; }
  bool isWrongInBf16 = false;
  core::Precision precision() const override { return precision_; }
  void setPrecision(core::Precision precision) override { precision_ = precision; }
  bool hasCopies = false;  // to give back when memory is short
  bool dropCopies() override { return std::exchange(hasCopies, false); }

  core::Tensor allocate(int64_t rows, int64_t cols) override {
    step();
    return CpuBackend::allocate(rows, cols);
  }
  void write(core::ConstMatrixView from, const core::Tensor& to) override {
    step();
    CpuBackend::write(from, to);
  }
  void read(const core::Tensor& from, core::MatrixView to) override {
    if (isLost_) lose();
    CpuBackend::read(from, to);
  }
  void copy(const core::Tensor& from, const core::Tensor& to) override {
    step();
    CpuBackend::copy(from, to);
  }
  void expectWeights(std::span<const core::WeightView>) override { step(); }
  void linear(const core::Tensor& x, const core::Linear& w, core::Into into, const core::Tensor& out, core::Job& job) override {
    step();
    CpuBackend::linear(x, w, into, out, job);
    if (splits && splitsCoarsely) CpuBackend::scale(out, 1.0001f, job);
  }
  void norm(const core::Tensor& x, const core::NormRule& rule, const core::NormWeights& w, const core::Tensor& out,
            core::Job& job) override {
    step();
    CpuBackend::norm(x, rule, w, out, job);
  }
  void rope(const core::Tensor& x, const core::RopeRule& rule, const core::RopeSpec& spec, core::Job& job) override {
    step();
    CpuBackend::rope(x, rule, spec, job);
  }
  void gate(const core::Tensor& x, const core::Tensor& g, core::Activation kind, core::Job& job) override {
    step();
    CpuBackend::gate(x, g, kind, job);
  }
  void scale(const core::Tensor& x, float factor, core::Job& job) override {
    step();
    CpuBackend::scale(x, wrong.count(core::Op::Scale) ? factor * 1.01f : factor, job);
  }
  core::AttentionStatistics attention(const core::AttentionInput& input, const core::Tensor& out, core::Job& job) override {
    step();
    const core::AttentionStatistics rows = CpuBackend::attention(input, out, job);
    if (isWrongInBf16 && precision_ == core::Precision::Bf16) CpuBackend::scale(out, 1.1f, job);
    return rows;
  }
  core::Matrix mapTile(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                       const core::TileRequest& request, core::Job& job) override {
    step();
    core::Matrix tile = CpuBackend::mapTile(input, rows, head, request, job);
    if (wrong.count(core::Op::MapTile)) tile(0, 0) = NAN;
    return tile;
  }
  std::vector<double> wholeSpectrum(core::ConstMatrixView rows, core::SpectrumRoute route, const core::Job& job) override {
    step();
    return CpuBackend::wholeSpectrum(rows, route, job);
  }
  core::StackDirections stackDirections(core::ConstMatrixView stack, int64_t perHead, const core::Job& job) override {
    step();
    return CpuBackend::stackDirections(stack, perHead, job);
  }
  void squareProduct(const core::Tensor& x, const core::Tensor& w, const core::Tensor& out, const core::Job& job) override {
    step();
    CpuBackend::squareProduct(x, w, out, job);
  }
  core::Matrix tableProduct(core::ConstMatrixView x, const core::WeightView& table, const core::Job& job) override {
    step();
    return CpuBackend::tableProduct(x, table, job);
  }
  core::ChosenRows chosenAttention(const core::MaskedHead& head, const core::KeyChoice& choice, core::MatrixView out,
                                   const core::Job& job) override {
    step();
    return CpuBackend::chosenAttention(head, choice, out, job);
  }
  core::Matrix chosenTile(const core::MaskedHead& head, const core::KeyChoice& choice, const core::TileRequest& request,
                          const core::Job& job) override {
    step();
    return CpuBackend::chosenTile(head, choice, request, job);
  }
  core::SpectraResult spectra(const core::SpectraBatch& batch, const core::Job& job) override {
    step();
    return CpuBackend::spectra(batch, job);
  }

 private:
  [[noreturn]] void lose() {
    isLost_ = true;
    throw core::DeviceFault(Kind::Lost, "unspecified launch failure", "");
  }
  void step() {
    ++calls_;
    if (isLost_) lose();
    if (left_ < 0) return;
    if (left_-- > 0) return;
    if (kind_ == Kind::Lost) lose();
    throw core::DeviceFault(Kind::OutOfMemory, "out of memory", "");
  }
  int left_ = 1 << 30, calls_ = 0;
  Kind kind_ = Kind::OutOfMemory;
  bool isLost_ = false;
  core::Precision precision_ = core::Precision::Float32;
};

}  // namespace headscope::tests
