#include "gpu/cuda_backend.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "core/backend/cuda_plugin.h"
#include "core/base/parallel.h"
#include "core/checkpoint/stored_span.h"
#include "gpu/arithmetic/fitness.h"

namespace headscope::gpu {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what cuBLAS asks for on cards of capability 9.0
constexpr int64_t kRowsOfAThread = 16;                // of an embedding
constexpr size_t kPipeBytes = size_t{16} << 20;

/// What the driver says of itself, or the CUDA version it is for.
std::string driverVersion(int version) {
  std::string line;
  std::ifstream file("/proc/driver/nvidia/version");
  std::getline(file, line);
  return line.empty() ? "driver for CUDA " + std::to_string(version) : line;
}

/// The interface's version and which build of the plug-in this is: size and time of its file.
std::string pluginVersion() {
  Dl_info place{};
  std::error_code code;
  std::string text = core::kPluginVersion;
  if (dladdr(reinterpret_cast<const void*>(&driverVersion), &place) != 0 && place.dli_fname != nullptr) {
    const auto size = std::filesystem::file_size(place.dli_fname, code);
    if (!code) text += " " + std::to_string(size);
    const auto time = std::filesystem::last_write_time(place.dli_fname, code);
    if (!code) text += " " + std::to_string(time.time_since_epoch().count());
  }
  return text;
}

/// Throws core::Error with the reason where there is one.
void require(const std::string& reason) {
  if (!reason.empty()) throw core::Error(reason);
}

DriverFacts findDriver() {
  DriverFacts facts;
  if (cudaDriverGetVersion(&facts.driver) != cudaSuccess) facts.driver = 0;
  if (facts.driver < kMinimumDriver) return facts;
  const cudaError_t counted = cudaGetDeviceCount(&facts.devices);
  if (counted != cudaSuccess)
    facts.devices = 0, facts.isNoDevice = counted == cudaErrorNoDevice, facts.countingFault = cudaGetErrorString(counted);
  return facts;
}

}  // namespace

CudaBackend::CudaBackend() {
  const DriverFacts facts = findDriver();
  require(unfitDriver(facts));
  cudaDeviceProp card{};
  check(cudaGetDeviceProperties(&card, 0), "reading the device's properties");
  require(unfitCard(card.name, card.major, card.minor));
  check(cudaSetDevice(0), "selecting the device");
  splitsProducts_ = paysToSplit(card.major, card.minor);
  stream_ = std::make_shared<Stream>();
  cublasHandle_t blas = nullptr;
  check(cublasCreate(&blas), "starting cuBLAS");
  blas_.reset(blas);
  check(cublasSetStream(blas, stream()), "starting cuBLAS");
  check(cublasSetMathMode(blas, CUBLAS_DEFAULT_MATH), "starting cuBLAS");
  pipe_ = std::make_unique<PinnedPipe>(stream(), kPipeBytes);
  cudaMemPool_t pool = nullptr;
  uint64_t keepAll = UINT64_MAX;
  check(cudaDeviceGetDefaultMemPool(&pool, 0), "finding the memory pool");
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keepAll), "setting up the memory pool");
  try {
    workspace_ = DeviceArray<std::byte>(kWorkspaceBytes, stream());
    check(cublasSetWorkspace(blas, workspace_.data(), kWorkspaceBytes), "starting cuBLAS");
  } catch (const core::DeviceFault& fault) {
    if (fault.isLost()) throw;  // short memory: cuBLAS sees to itself
  }
  size_t freeBytes = 0, totalBytes = 0;
  check(cudaMemGetInfo(&freeBytes, &totalBytes), "reading free memory");
  weights_ = std::make_unique<WeightCache>(stream_, freeBytes / 10 * 7);
  device_ = std::string(card.name) + ", " + std::to_string(totalBytes >> 30) + " GiB";
  identity_ = std::string(card.name) + " " + std::to_string(card.major) + "." + std::to_string(card.minor) + "; " +
              driverVersion(facts.driver) + "; " + pluginVersion();
}

CudaBackend::~CudaBackend() {
  cudaSetDevice(0);
  cudaStreamSynchronize(stream());
}

std::string CudaBackend::device() const {
  const core::Precision precision = precision_;
  if (precision == core::Precision::Float32) return device_;
  return device_ + ", " + std::string(core::nameOf(precision)) + " products";
}

void CudaBackend::setPrecision(core::Precision precision) {
  const Lock lock(mutex_);
  check(cublasSetMathMode(blas(), precision == core::Precision::Tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
        "setting the precision");
  precision_ = precision;
}

cusolverDnHandle_t CudaBackend::solver() {
  if (!solver_) {
    cusolverDnHandle_t handle = nullptr;
    check(cusolverDnCreate(&handle), "starting cuSOLVER");
    solver_.reset(handle);
    check(cusolverDnSetStream(handle, stream()), "starting cuSOLVER");
  }
  return solver_.get();
}

CudaBackend::Lock CudaBackend::begin(const core::Job& job) {
  job.checkpoint();
  Lock lock(mutex_);
  check(cudaSetDevice(0), "selecting the device");  // a setting of the calling thread
  if (ownerOfStrip_.expired()) stripOnCard_.reset();
  return lock;
}

core::Tensor CudaBackend::allocate(int64_t rows, int64_t cols) {
  const Lock lock(mutex_);
  check(cudaSetDevice(0), "selecting the device");
  const auto take = [&] { return core::Tensor{std::make_shared<DeviceStorage>(rows * cols, stream_), 0, rows, cols, cols}; };
  try {
    return take();
  } catch (const core::DeviceFault& fault) {
    if (fault.isLost()) throw;
  }
  dropCopies();  // they come again when they are used
  return take();
}

bool CudaBackend::dropCopies() {
  const Lock lock(mutex_);
  const bool hasStrip = stripOnCard_ != nullptr;
  stripOnCard_.reset();
  return weights_->dropAll() || hasStrip;
}

void CudaBackend::write(core::ConstMatrixView from, const core::Tensor& to) {
  if (from.rows == 0 || from.cols == 0) return;
  const Lock lock(mutex_);
  if (to.stride == to.cols) return sendAll({&from, 1}, deviceData(to));
  check(cudaMemcpy2DAsync(deviceData(to), static_cast<size_t>(to.stride) * 4, from.data, static_cast<size_t>(from.stride) * 4,
                          static_cast<size_t>(from.cols) * 4, static_cast<size_t>(from.rows), cudaMemcpyHostToDevice, stream()),
        "copying to the device");
  synchronise("copying to the device");
}

void CudaBackend::read(const core::Tensor& from, core::MatrixView to) {
  if (from.rows == 0 || from.cols == 0) return;
  const Lock lock(mutex_);
  if (from.stride == from.cols && to.stride == to.cols) {
    check(cudaMemcpyAsync(to.data, deviceData(from), static_cast<size_t>(from.size()) * 4, cudaMemcpyDeviceToHost, stream()),
          "copying from the device");
    return synchronise("copying from the device");
  }
  check(cudaMemcpy2DAsync(to.data, static_cast<size_t>(to.stride) * 4, deviceData(from), static_cast<size_t>(from.stride) * 4,
                          static_cast<size_t>(from.cols) * 4, static_cast<size_t>(from.rows), cudaMemcpyDeviceToHost, stream()),
        "copying from the device");
  synchronise("copying from the device");
}

void CudaBackend::copy(const core::Tensor& from, const core::Tensor& to) {
  const Lock lock(mutex_);
  copyRows(matrix(from), matrix(to), stream());
}

void CudaBackend::keepWeights(std::shared_ptr<const void> owner) {
  const Lock lock(mutex_);
  weights_->keep(std::move(owner));
}

void CudaBackend::expectWeights(std::span<const core::WeightView> weights) {
  const Lock lock(mutex_);
  check(cudaSetDevice(0), "selecting the device");
  for (const core::WeightView& view : weights) weights_->expect(view.data, core::storedSpan(view).size());
}

void CudaBackend::embed(const core::WeightView& table, std::span<const int32_t> ids, float scale, core::Into into, const core::Tensor& out,
                        core::Job& job) {
  // A few rows of a table that may have gigabytes: decoded on the host, only they travel.
  core::Matrix rows(static_cast<int64_t>(ids.size()), table.inputs());
  core::parallelRanges(rows.rows(), kRowsOfAThread, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      table.decodeRows(ids[static_cast<size_t>(n)], 1, rows.row(n), rows.cols());
      for (int64_t c = 0; c < rows.cols(); ++c) rows(n, c) *= scale;
    }
  });
  const Lock lock = begin(job);
  if (into == core::Into::Replace) return write(rows, out);
  const core::Tensor embedded = allocate(rows.rows(), rows.cols());
  write(rows, embedded);
  addRows(matrix(out), matrix(embedded), stream());
}

void CudaBackend::norm(const core::Tensor& x, const core::NormRule& rule, const core::NormWeights& weights, const core::Tensor& out,
                       core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<float> gain(std::span<const float>(weights.gain), *pipe_), bias(std::span<const float>(weights.bias), *pipe_);
  normRows(matrix(x), rule.kind == core::NormKind::LayerNorm, static_cast<float>(rule.eps), rule.groups, gain.data(), bias.data(),
           matrix(out), stream());
}

void CudaBackend::rope(const core::Tensor& x, const core::RopeRule& rule, const core::RopeSpec& spec, core::Job& job) {
  const std::vector<float> frequencies(spec.frequencies.begin(), spec.frequencies.end());
  const Lock lock = begin(job);
  const DeviceArray<float> onDevice(std::span<const float>(frequencies), *pipe_);
  ropeRows(matrix(x),
           {rule.heads, rule.headWidth, rule.offset, spec.dims, spec.isInterleaved, rule.isInverse, onDevice.data(), rule.firstPosition,
            spec.magnitude},
           stream());
}

void CudaBackend::activate(const core::Tensor& x, core::Activation activation, core::Job& job) {
  const Lock lock = begin(job);
  activateAll(matrix(x), activation, stream());
}

void CudaBackend::gate(const core::Tensor& x, const core::Tensor& gate, core::Activation activation, core::Job& job) {
  const Lock lock = begin(job);
  gateAll(matrix(x), matrix(gate), activation, stream());
}

void CudaBackend::add(const core::Tensor& x, const core::Tensor& y, core::Job& job) {
  const Lock lock = begin(job);
  addRows(matrix(x), matrix(y), stream());
}

void CudaBackend::scale(const core::Tensor& x, float factor, core::Job& job) {
  const Lock lock = begin(job);
  scaleAll(matrix(x), factor, stream());
}

void CudaBackend::softcap(const core::Tensor& x, float cap, core::Job& job) {
  const Lock lock = begin(job);
  softcapAll(matrix(x), cap, stream());
}

void CudaBackend::copyHeads(const core::Tensor& from, int64_t fromHeads, const core::Tensor& to, int64_t heads, int64_t toOffset,
                            core::Job& job) {
  const Lock lock = begin(job);
  gpu::copyHeads(matrix(from), fromHeads, matrix(to), heads, toOffset, stream());
}

void CudaBackend::gatherRows(const core::Tensor& x, std::span<const int32_t> rows, const core::Tensor& out, core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<int32_t> indices(rows, *pipe_);
  gpu::gatherRows(matrix(x), indices.data(), matrix(out), stream());
}

void CudaBackend::scatterRows(const core::Tensor& x, std::span<const int32_t> rows, std::span<const float> weights, const core::Tensor& out,
                              core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<int32_t> indices(rows, *pipe_);
  const DeviceArray<float> factors(weights, *pipe_);
  gpu::scatterRows(matrix(x), indices.data(), factors.data(), matrix(out), stream());
}

std::vector<float> CudaBackend::rowNorms(const core::Tensor& x, core::Job& job) {
  const Lock lock = begin(job);
  const DeviceArray<float> norms(x.rows, stream());
  gpu::rowNorms(matrix(x), norms.data(), stream());
  return norms.toHost();
}

}  // namespace headscope::gpu
