// CudaBackend's operations on whole matrices: spectra and shared directions by cuSOLVER from Gram matrices in double, products with a
// matrix that stays on the card, and with stored tables.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "core/weights/subspace.h"
#include "gpu/cuda_products.h"

namespace headscope::gpu {
namespace {

/// Numbers in double that are widened at once, and floats of a product or a decoded table.
constexpr int64_t kWideNumbers = int64_t{48} << 20, kProductFloats = int64_t{64} << 20;

class SolverParams {
 public:
  SolverParams() { check(cusolverDnCreateParams(&params_), "setting up cuSOLVER"); }
  ~SolverParams() { cusolverDnDestroyParams(params_); }
  SolverParams(const SolverParams&) = delete;
  SolverParams& operator=(const SolverParams&) = delete;
  cusolverDnParams_t get() const { return params_; }

 private:
  cusolverDnParams_t params_ = nullptr;
};

void requireConverged(const DeviceArray<int>& info) {
  if (info.toHost()[0] != 0)
    throw core::Error("a decomposition did not converge on the device", {}, "check the weights, or compute with --device cpu");
}

}  // namespace

DeviceArray<double> CudaBackend::eigenvalues(const DeviceArray<double>& matrix, int64_t n, bool withVectors) {
  const cusolverEigMode_t mode = withVectors ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
  DeviceArray<double> values(n, stream());
  const SolverParams params;
  size_t onDevice = 0, onHost = 0;
  check(cusolverDnXsyevd_bufferSize(solver(), params.get(), mode, CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix.data(), n, CUDA_R_64F,
                                    values.data(), CUDA_R_64F, &onDevice, &onHost),
        "sizing an eigenvalue problem");
  const DeviceArray<std::byte> work(static_cast<int64_t>(onDevice), stream());
  std::vector<std::byte> hostWork(onHost);
  const DeviceArray<int> info(1, stream());
  check(cusolverDnXsyevd(solver(), params.get(), mode, CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix.data(), n, CUDA_R_64F, values.data(),
                         CUDA_R_64F, work.data(), onDevice, hostWork.data(), onHost, info.data()),
        "eigenvalues");
  requireConverged(info);
  return values;
}

DeviceArray<double> CudaBackend::shortGram(core::ConstMatrixView m, const core::Job& job) {
  const int64_t k = std::min(m.rows, m.cols), length = std::max(m.rows, m.cols), step = std::max<int64_t>(1, kWideNumbers / k);
  DeviceArray<double> gram(k * k, stream());
  const double one = 1;
  for (int64_t first = 0; first < length; first += step) {
    job.checkpoint();
    const int64_t count = std::min(step, length - first);
    const double beta = first == 0 ? 0 : 1;
    if (m.rows <= m.cols) {
      const DeviceArray<double> wide = widened(m.colsFrom(first, count));
      multiplyDouble(wide.data(), k, wide.data(), k, count, beta, gram.data());
    } else {
      const DeviceArray<double> wide = widened(m.rowsFrom(first, count));
      check(cublasDgemm_64(blas(), CUBLAS_OP_N, CUBLAS_OP_T, k, k, count, &one, wide.data(), k, wide.data(), k, &beta, gram.data(), k),
            "a Gram matrix");
    }
  }
  return gram;
}

std::vector<double> CudaBackend::exactValues(core::ConstMatrixView rows) {
  // As cuSOLVER sees it the matrix is its transpose [m, k], which is no wider than high
  const int64_t k = rows.rows, m = rows.cols;
  const DeviceArray<double> wide = widened(rows), values(k, stream());
  const SolverParams params;
  size_t onDevice = 0, onHost = 0;
  check(cusolverDnXgesvd_bufferSize(solver(), params.get(), 'N', 'N', m, k, CUDA_R_64F, wide.data(), m, CUDA_R_64F, values.data(),
                                    CUDA_R_64F, nullptr, m, CUDA_R_64F, nullptr, k, CUDA_R_64F, &onDevice, &onHost),
        "sizing a decomposition");
  const DeviceArray<std::byte> work(static_cast<int64_t>(onDevice), stream());
  std::vector<std::byte> hostWork(onHost);
  const DeviceArray<int> info(1, stream());
  check(cusolverDnXgesvd(solver(), params.get(), 'N', 'N', m, k, CUDA_R_64F, wide.data(), m, CUDA_R_64F, values.data(), CUDA_R_64F, nullptr,
                         m, CUDA_R_64F, nullptr, k, CUDA_R_64F, work.data(), onDevice, hostWork.data(), onHost, info.data()),
        "singular values");
  requireConverged(info);
  return values.toHost();
}

std::vector<double> CudaBackend::wholeSpectrum(core::ConstMatrixView rows, core::SpectrumRoute route, const core::Job& job) {
  const Lock lock = begin(job);
  const int64_t k = rows.rows, count = std::min(rows.rows, rows.cols);
  if (count == 0) return {};
  if (route == core::SpectrumRoute::Householder) return exactValues(rows);
  // Callers give a matrix that is no taller than wide; of another the rest of the values is zero
  const DeviceArray<double> gram = shortGram(rows, job);
  std::vector<double> found = eigenvalues(gram, std::min(k, count), false).toHost();  // ascending
  std::reverse(found.begin(), found.end());
  for (double& v : found) v = v > 0 ? std::sqrt(v) : 0.0;
  return found;
}

core::StackDirections CudaBackend::stackDirections(core::ConstMatrixView stack, int64_t perHead, const core::Job& job) {
  const Lock lock = begin(job);
  const FloatProducts isFloat(*this);
  core::StackDirections out;
  const int64_t rows = stack.rows, width = stack.cols, p = std::min(rows, width);
  if (p == 0) return out;
  const int64_t heads = rows / perHead;
  const DeviceArray<double> vectors = shortGram(stack, job), values = eigenvalues(vectors, p, true), energy(heads * p, stream());
  if (rows <= width) {
    vectorEnergies(vectors.data(), values.data(), p, heads, perHead, energy.data(), stream());
  } else {  // of the heads' rows on the directions, some heads at a time
    const DeviceArray<float> directions(p * p, stream());
    narrow(vectors.data(), p * p, directions.data(), stream());
    const int64_t step = std::clamp<int64_t>(kProductFloats / (perHead * p), 1, heads);
    const DeviceArray<float> part(step * perHead * p, stream()), products(step * perHead * p, stream());
    for (int64_t h = 0; h < heads; h += step) {
      job.checkpoint();
      const int64_t count = std::min(step, heads - h);
      const core::ConstMatrixView own = stack.rowsFrom(h * perHead, count * perHead);
      sendAll({&own, 1}, part.data());
      multiply({part.data(), own.rows, p, p}, directions.data(), p, p, 0.0f, {products.data(), own.rows, p, p});
      productEnergies(products.data(), p, count, perHead, energy.data() + h * p, stream());
    }
  }
  // Both ascend
  out.sigma = values.toHost();
  std::reverse(out.sigma.begin(), out.sigma.end());
  for (double& v : out.sigma) v = v > 0 ? std::sqrt(v) : 0.0;
  const std::vector<double> found = energy.toHost();
  for (int64_t h = 0; h < heads; ++h) out.energy.emplace_back(found.rend() - (h + 1) * p, found.rend() - h * p);
  return out;
}

void CudaBackend::squareProduct(const core::Tensor& x, const core::Tensor& w, const core::Tensor& out, const core::Job& job) {
  const Lock lock = begin(job);
  const FloatProducts isFloat(*this);
  if (x.rows == 0 || w.rows == 0) return;
  const DeviceMatrix from = matrix(x), whole = matrix(w);
  const DeviceArray<float> inner(x.rows * w.cols, stream());
  const float one = 1.0f, zero = 0.0f;
  check(cublasSgemm_64(blas(), CUBLAS_OP_N, CUBLAS_OP_N, w.cols, x.rows, w.rows, &one, whole.data, whole.stride, from.data, from.stride,
                       &zero, inner.data(), w.cols),
        "a product with a whole matrix");
  multiply({inner.data(), x.rows, w.cols, w.cols}, whole.data, whole.stride, w.rows, 0.0f, matrix(out));
}

core::Matrix CudaBackend::tableProduct(core::ConstMatrixView x, const core::WeightView& table, const core::Job& job) {
  const Lock lock = begin(job);
  const FloatProducts isFloat(*this);
  core::Matrix out(x.rows, table.outputs());
  if (out.size() == 0) return out;
  const int64_t inputs = table.inputs(), step = std::clamp<int64_t>(kProductFloats / std::max<int64_t>(1, inputs), 1, table.outputs());
  const StagedWeights staged = onDevice(table);
  const DeviceArray<float> decoded(step * inputs, stream()), rows(x.rows * x.cols, stream()), products(out.size(), stream());
  sendAll({&x, 1}, rows.data());
  for (int64_t first = 0; first < table.outputs(); first += step) {
    job.checkpoint();
    const int64_t count = std::min(step, table.outputs() - first);
    decodeRows(staged.view, first, count, decoded.data(), stream());
    multiply({rows.data(), x.rows, inputs, inputs}, decoded.data(), inputs, count, 0.0f,
             {products.data() + first, x.rows, count, out.cols()});
  }
  check(cudaMemcpyAsync(out.data(), products.data(), static_cast<size_t>(out.size()) * sizeof(float), cudaMemcpyDeviceToHost, stream()),
        "copying from the device");
  synchronise("copying from the device");
  return out;
}

}  // namespace headscope::gpu
