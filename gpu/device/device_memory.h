#pragma once
// Device memory as RAII: DeviceStorage behind a Tensor, DeviceArray for scratch. Both come from the stream's memory pool, so that
// freeing waits for the work that still reads them and nothing else.
#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <utility>

#include "core/backend/tensor.h"
#include "gpu/device/check.h"

namespace headscope::gpu {

/// `count` elements of T on the device, uninitialised.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  DeviceArray(int64_t count, cudaStream_t stream) : count_(count), stream_(stream) {
    if (count > 0)
      check(cudaMallocAsync(reinterpret_cast<void**>(&data_), static_cast<size_t>(count) * sizeof(T), stream), "allocating device memory");
  }
  DeviceArray(std::span<const T> host, cudaStream_t stream) : DeviceArray(static_cast<int64_t>(host.size()), stream) {
    if (!host.empty()) {
      check(cudaMemcpyAsync(data_, host.data(), host.size_bytes(), cudaMemcpyHostToDevice, stream), "copying to the device");
      // The source may be pageable and short-lived.
      check(cudaStreamSynchronize(stream), "copying to the device");
    }
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
  DeviceStorage(int64_t floats, cudaStream_t stream) : array(floats, stream) {}
  DeviceArray<float> array;
};

inline float* deviceData(const core::Tensor& tensor) {
  return static_cast<DeviceStorage*>(tensor.storage.get())->array.data() + tensor.offset;
}

}  // namespace headscope::gpu
