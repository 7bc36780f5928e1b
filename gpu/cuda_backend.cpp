#include "gpu/cuda_backend.h"

#include <algorithm>
#include <vector>

namespace headscope::gpu {
namespace {

constexpr int kMinimumDriver = 12040;
constexpr int kMinimumMajor = 8;

std::string versionText(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

}  // namespace

CudaBackend::CudaBackend() {
  int driver = 0, devices = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) throw core::Error("no CUDA driver found");
  if (driver < kMinimumDriver) throw core::Error("the CUDA driver is for " + versionText(driver) + ", 12.4 or newer is needed");
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    throw core::Error(found == cudaSuccess || found == cudaErrorNoDevice ? "no CUDA device found"
                                                                         : std::string("CUDA can't start: ") + cudaGetErrorString(found));
  }
  cudaDeviceProp card{};
  check(cudaGetDeviceProperties(&card, 0), "reading the device's properties");
  if (card.major < kMinimumMajor) {
    throw core::Error(std::string(card.name) + " has compute capability " + std::to_string(card.major) + "." + std::to_string(card.minor) +
                      ", 8.0 or newer is needed");
  }
  check(cudaSetDevice(0), "selecting the device");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
  check(cublasCreate(&blas_), "starting cuBLAS");
  check(cublasSetStream(blas_, stream_), "starting cuBLAS");
  check(cublasSetMathMode(blas_, CUBLAS_PEDANTIC_MATH), "starting cuBLAS");
  cudaMemPool_t pool = nullptr;
  uint64_t keepAll = UINT64_MAX;
  check(cudaDeviceGetDefaultMemPool(&pool, 0), "finding the memory pool");
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keepAll), "setting up the memory pool");
  size_t freeBytes = 0, totalBytes = 0;
  check(cudaMemGetInfo(&freeBytes, &totalBytes), "reading free memory");
  weights_ = std::make_unique<WeightCache>(stream_, freeBytes / 10 * 7);
  device_ = std::string(card.name) + ", " + std::to_string(totalBytes >> 30) + " GiB";
}

CudaBackend::~CudaBackend() {
  weights_.reset();
  if (blas_ != nullptr) cublasDestroy(blas_);
  if (stream_ != nullptr) {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
}

CudaBackend::Lock CudaBackend::begin(const core::Job& job) {
  job.checkpoint();
  Lock lock(mutex_);
  check(cudaSetDevice(0), "selecting the device");  // a setting of the calling thread
  return lock;
}

core::Tensor CudaBackend::allocate(int64_t rows, int64_t cols) {
  const Lock lock(mutex_);
  return {std::make_shared<DeviceStorage>(rows * cols, stream_), 0, rows, cols, cols};
}

void CudaBackend::write(core::ConstMatrixView from, const core::Tensor& to) {
  const Lock lock(mutex_);
  check(cudaMemcpy2DAsync(deviceData(to), static_cast<size_t>(to.stride) * 4, from.data, static_cast<size_t>(from.stride) * 4,
                          static_cast<size_t>(from.cols) * 4, static_cast<size_t>(from.rows), cudaMemcpyHostToDevice, stream_),
        "copying to the device");
  synchronise("copying to the device");
}

void CudaBackend::read(const core::Tensor& from, core::MatrixView to) {
  const Lock lock(mutex_);
  check(cudaMemcpy2DAsync(to.data, static_cast<size_t>(to.stride) * 4, deviceData(from), static_cast<size_t>(from.stride) * 4,
                          static_cast<size_t>(from.cols) * 4, static_cast<size_t>(from.rows), cudaMemcpyDeviceToHost, stream_),
        "copying from the device");
  synchronise("copying from the device");
}

void CudaBackend::copy(const core::Tensor& from, const core::Tensor& to) {
  const Lock lock(mutex_);
  copyRows(matrix(from), matrix(to), stream_);
}

void CudaBackend::keepWeights(std::shared_ptr<const void> owner) {
  const Lock lock(mutex_);
  weights_->keep(std::move(owner));
}

void CudaBackend::embed(const core::WeightView& table, std::span<const int32_t> ids, float scale, core::Into into, const core::Tensor& out,
                        core::Job& job) {
  // A few rows of a table that may have gigabytes: decoded on the host, only they travel.
  core::Matrix rows(static_cast<int64_t>(ids.size()), table.inputs());
  for (int64_t n = 0; n < rows.rows(); ++n) {
    table.decodeRows(ids[static_cast<size_t>(n)], 1, rows.row(n), rows.cols());
    for (int64_t c = 0; c < rows.cols(); ++c) rows(n, c) *= scale;
  }
  const Lock lock = begin(job);
  if (into == core::Into::Replace) return write(rows, out);
  const core::Tensor embedded = allocate(rows.rows(), rows.cols());
  write(rows, embedded);
  addRows(matrix(out), matrix(embedded), stream_);
}

void CudaBackend::norm(const core::Tensor& x, const core::NormRule& rule, const core::NormWeights& weights, const core::Tensor& out,
                       core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<float> gain(std::span<const float>(weights.gain), stream_), bias(std::span<const float>(weights.bias), stream_);
  normRows(matrix(x), rule.kind == core::NormKind::LayerNorm, static_cast<float>(rule.eps), rule.groups, gain.data(), bias.data(),
           matrix(out), stream_);
}

void CudaBackend::rope(const core::Tensor& x, const core::RopeRule& rule, const core::RopeSpec& spec, core::Job& job) {
  const auto half = static_cast<size_t>(spec.dims / 2);
  std::vector<float> cosine(static_cast<size_t>(x.rows) * half), sine(cosine.size());
  const double magnitude = rule.isInverse ? 1.0 / spec.magnitude : spec.magnitude;
  for (int64_t n = 0; n < x.rows; ++n) {
    for (size_t i = 0; i < half; ++i) {
      // The float32 product, as the model was trained with: see RopeSpec
      const double angle = static_cast<float>(rule.firstPosition + n) * static_cast<float>(spec.frequencies[i]);
      cosine[static_cast<size_t>(n) * half + i] = static_cast<float>(std::cos(angle) * magnitude);
      sine[static_cast<size_t>(n) * half + i] = static_cast<float>((rule.isInverse ? -std::sin(angle) : std::sin(angle)) * magnitude);
    }
  }
  const Lock lock = begin(job);
  const DeviceArray<float> c(std::span<const float>(cosine), stream_), s(std::span<const float>(sine), stream_);
  ropeRows(matrix(x), rule.heads, rule.headWidth, rule.offset, spec.dims, spec.isInterleaved, c.data(), s.data(), stream_);
}

void CudaBackend::activate(const core::Tensor& x, core::Activation activation, core::Job& job) {
  const Lock lock = begin(job);
  activateAll(matrix(x), activation, stream_);
}

void CudaBackend::gate(const core::Tensor& x, const core::Tensor& gate, core::Activation activation, core::Job& job) {
  const Lock lock = begin(job);
  gateAll(matrix(x), matrix(gate), activation, stream_);
}

void CudaBackend::add(const core::Tensor& x, const core::Tensor& y, core::Job& job) {
  const Lock lock = begin(job);
  addRows(matrix(x), matrix(y), stream_);
}

void CudaBackend::scale(const core::Tensor& x, float factor, core::Job& job) {
  const Lock lock = begin(job);
  scaleAll(matrix(x), factor, stream_);
}

void CudaBackend::softcap(const core::Tensor& x, float cap, core::Job& job) {
  const Lock lock = begin(job);
  softcapAll(matrix(x), cap, stream_);
}

void CudaBackend::copyHeads(const core::Tensor& from, int64_t fromHeads, const core::Tensor& to, int64_t heads, int64_t toOffset,
                            core::Job& job) {
  const Lock lock = begin(job);
  gpu::copyHeads(matrix(from), fromHeads, matrix(to), heads, toOffset, stream_);
}

void CudaBackend::gatherRows(const core::Tensor& x, std::span<const int32_t> rows, const core::Tensor& out, core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<int32_t> indices(rows, stream_);
  gpu::gatherRows(matrix(x), indices.data(), matrix(out), stream_);
}

void CudaBackend::scatterRows(const core::Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const core::Tensor& out,
                              core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<int32_t> indices(rows, stream_);
  const DeviceArray<float> factors(weights, stream_);
  gpu::scatterRows(matrix(x), indices.data(), factors.data(), matrix(out), stream_);
}

std::vector<float> CudaBackend::rowNorms(const core::Tensor& x, core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<float> norms(x.rows, stream_);
  gpu::rowNorms(matrix(x), norms.data(), stream_);
  std::vector<float> host(static_cast<size_t>(x.rows));
  check(cudaMemcpyAsync(host.data(), norms.data(), host.size() * sizeof(float), cudaMemcpyDeviceToHost, stream_),
        "copying from the device");
  synchronise("row norms");
  return host;
}

}  // namespace headscope::gpu
