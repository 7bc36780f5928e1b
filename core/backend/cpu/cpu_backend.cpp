#include "core/backend/cpu/cpu_backend.h"

#include <cassert>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "core/backend/cpu/attention_kernels.h"
#include "core/backend/cpu/kernels.h"
#include "core/base/error.h"
#include "core/base/parallel.h"
#include "core/weights/square_product.h"

namespace headscope::core {
namespace {

class HostStorage : public Storage {
 public:
  HostStorage(std::shared_ptr<cpu::HostMemory> memory, int64_t rows, int64_t cols)
      : memory_(std::move(memory)), bytes_(static_cast<size_t>(rows * cols) * sizeof(float)), data_(memory_->take(bytes_)) {}
  ~HostStorage() override { memory_->give(data_, bytes_); }
  HostStorage(const HostStorage&) = delete;
  HostStorage& operator=(const HostStorage&) = delete;
  float* data() { return data_; }

 private:
  std::shared_ptr<cpu::HostMemory> memory_;
  size_t bytes_;
  float* data_;  // [rows, cols]
};

MatrixView viewOf(const Tensor& tensor) {
  if (tensor.storage == nullptr) return {nullptr, tensor.rows, tensor.cols, tensor.stride};
  assert(dynamic_cast<HostStorage*>(tensor.storage.get()) != nullptr);
  return {static_cast<HostStorage&>(*tensor.storage).data() + tensor.offset, tensor.rows, tensor.cols, tensor.stride};
}

cpu::LayerView viewOf(const AttentionInput& input) { return {viewOf(input.query), viewOf(input.key), viewOf(input.value), input.rule}; }

void copyView(ConstMatrixView from, MatrixView to) {
  assert(from.rows == to.rows && from.cols == to.cols);
  for (int64_t r = 0; r < from.rows; ++r) std::memcpy(to.row(r), from.row(r), static_cast<size_t>(from.cols) * sizeof(float));
}

}  // namespace

std::string CpuBackend::device() const {
  const int threads = threadCount();
  return std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

Tensor CpuBackend::allocate(int64_t rows, int64_t cols) {
  try {
    return {std::make_shared<HostStorage>(memory_, rows, cols), 0, rows, cols, cols};
  } catch (const std::bad_alloc&) {
    throw Error("no memory for " + std::to_string(rows) + " x " + std::to_string(cols) + " numbers", "",
                "use a shorter prompt or fewer layers");
  }
}

void CpuBackend::write(ConstMatrixView from, const Tensor& to) { copyView(from, viewOf(to)); }
void CpuBackend::read(const Tensor& from, MatrixView to) { copyView(viewOf(from), to); }
void CpuBackend::copy(const Tensor& from, const Tensor& to) { copyView(viewOf(from), viewOf(to)); }
const float* CpuBackend::hostData(const Tensor& tensor) const { return viewOf(tensor).data; }

void CpuBackend::embed(const WeightView& table, std::span<const int32_t> ids, float scale, Into into, const Tensor& out, Job& job) {
  cpu::embed(table, ids, scale, into, viewOf(out), job);
}
void CpuBackend::linear(const Tensor& x, const Linear& weights, Into into, const Tensor& out, Job& job) {
  cpu::linear(viewOf(x), weights, into, viewOf(out), job);
}
void CpuBackend::norm(const Tensor& x, const NormRule& rule, const NormWeights& weights, const Tensor& out, Job& job) {
  cpu::norm(viewOf(x), rule, weights, viewOf(out), job);
}
void CpuBackend::rope(const Tensor& x, const RopeRule& rule, const RopeSpec& spec, Job& job) { cpu::rope(viewOf(x), rule, spec, job); }
void CpuBackend::activate(const Tensor& x, Activation activation, Job& job) { cpu::activate(viewOf(x), activation, job); }
void CpuBackend::gate(const Tensor& x, const Tensor& gate, Activation activation, Job& job) {
  cpu::gate(viewOf(x), viewOf(gate), activation, job);
}
void CpuBackend::add(const Tensor& x, const Tensor& y, Job& job) { cpu::add(viewOf(x), viewOf(y), job); }
void CpuBackend::scale(const Tensor& x, float factor, Job& job) { cpu::scale(viewOf(x), factor, job); }
void CpuBackend::softcap(const Tensor& x, float cap, Job& job) { cpu::softcap(viewOf(x), cap, job); }
void CpuBackend::copyHeads(const Tensor& from, int64_t fromHeads, const Tensor& to, int64_t heads, int64_t toOffset, Job& job) {
  cpu::copyHeads(viewOf(from), fromHeads, viewOf(to), heads, toOffset, job);
}
void CpuBackend::gatherRows(const Tensor& x, std::span<const int32_t> rows, const Tensor& out, Job& job) {
  cpu::gatherRows(viewOf(x), rows, viewOf(out), job);
}
void CpuBackend::scatterRows(const Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const Tensor& out, Job& job) {
  cpu::scatterRows(viewOf(x), rows, weights, viewOf(out), job);
}
std::vector<float> CpuBackend::rowNorms(const Tensor& x, Job& job) { return cpu::rowNorms(viewOf(x), job); }

AttentionStatistics CpuBackend::attention(const AttentionInput& input, const Tensor& out, Job& job) {
  const int64_t heads = input.rule.heads, count = input.count();
  AttentionStatistics rows{allocate(heads, count), allocate(heads, count), allocate(heads, count), allocate(heads, count)};
  cpu::attention(viewOf(input), viewOf(out), {viewOf(rows.max), viewOf(rows.logSumExp), viewOf(rows.entropy), viewOf(rows.distance)}, job);
  return rows;
}
Matrix CpuBackend::mapTile(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, const TileRequest& request,
                           Job& job) {
  return cpu::mapTile(viewOf(input).head(head), viewOf(rows.logSumExp).row(head), request, job);
}
std::vector<float> CpuBackend::columnMass(const AttentionInput& input, const AttentionStatistics& rows, int64_t head, Job& job) {
  return cpu::columnMass(viewOf(input).head(head), viewOf(rows.logSumExp).row(head), job);
}
Matrix CpuBackend::patternSums(const AttentionInput& input, const AttentionStatistics& rows, const RowPattern& pattern, Job& job) {
  return cpu::patternSums(viewOf(input), viewOf(rows.logSumExp), pattern, job);
}
KeysNeeded CpuBackend::keysNeeded(const AttentionInput& input, const AttentionStatistics& rows, const Matrix* keyWeights,
                                  std::span<const double> shares, Job& job) {
  return cpu::keysNeeded(viewOf(input), viewOf(rows.logSumExp), keyWeights, shares, job);
}
LogitSummary CpuBackend::logitSummary(const Tensor& x, const Linear& unembedding, double softcap, std::span<const int32_t> targets,
                                      Job& job) {
  return cpu::logitSummary(viewOf(x), unembedding, softcap, targets, job);
}

void CpuBackend::squareProduct(const Tensor& x, const Tensor& w, const Tensor& out, const Job& job) {
  copyView(SquareProduct(viewOf(w), job)(DoubleMatrix::from(viewOf(x)), job).toFloat(), viewOf(out));
}

}  // namespace headscope::core
