#pragma once
// Device memory as RAII: DeviceStorage behind a Tensor, DeviceArray for scratch. Both come from the stream's memory pool, so that
// freeing waits for the work that still reads them and nothing else.
#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/backend/tensor.h"
#include "gpu/device/check.h"
#include "gpu/device/pinned_pipe.h"

namespace headscope::gpu {

/// A stream of its own, ended when the last who uses it goes: tensors may outlive their backend.
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream"); }
  ~Stream() {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// `count` elements of T on the device, uninitialised.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(int64_t count, cudaStream_t stream) : count_(count), stream_(stream) {
    if (count > 0)
      check(cudaMallocAsync(reinterpret_cast<void**>(&data_), static_cast<size_t>(count) * sizeof(T), stream), "allocating device memory");
  }
  /// A copy of host numbers, which may go at once.
  DeviceArray(std::span<const T> host, PinnedPipe& pipe) : DeviceArray(static_cast<int64_t>(host.size()), pipe.stream()) {
    pipe.send(data_, host.data(), host.size_bytes());
  }
  DeviceArray(DeviceArray&& other) noexcept { swap(other); }
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    swap(other);
    return *this;
  }
  DeviceArray(const DeviceArray&) = delete;
  ~DeviceArray() {
    if (data_ != nullptr) cudaFreeAsync(data_, stream_);
  }

  T* data() const { return data_; }
  int64_t count() const { return count_; }
  /// Waits for the stream and copies back.
  std::vector<T> toHost() const {
    std::vector<T> host(static_cast<size_t>(count_));
    if (count_ == 0) return host;
    check(cudaMemcpyAsync(host.data(), data_, host.size() * sizeof(T), cudaMemcpyDeviceToHost, stream_), "copying from the device");
    check(cudaStreamSynchronize(stream_), "copying from the device");
    return host;
  }

 private:
  void swap(DeviceArray& other) {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(stream_, other.stream_);
  }
  T* data_ = nullptr;
  int64_t count_ = 0;
  cudaStream_t stream_ = nullptr;
};

class DeviceStorage : public core::Storage {
 public:
  DeviceStorage(int64_t floats, std::shared_ptr<Stream> stream) : stream_(std::move(stream)), array(floats, stream_->get()) {}

 private:
  std::shared_ptr<Stream> stream_;  // outlives the array

 public:
  DeviceArray<float> array;
};

inline float* deviceData(const core::Tensor& tensor) {
  return static_cast<DeviceStorage*>(tensor.storage.get())->array.data() + tensor.offset;
}

}  // namespace headscope::gpu
