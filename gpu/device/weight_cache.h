#pragma once
// WeightCache: stored tensors on the device, as they are stored (bf16, f16, f8 stay so), uploaded once when first needed and
// dropped, least recently used first, when the card is short: a model larger than the card streams through it layer by layer.
//
// Uploads go through two pinned buffers: while one is on its way, the next piece is copied from the mapped file into the other.
// Keys are places in host memory; a place is only trusted while the owner that vouched for it lives (keep()).
#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "gpu/device/device_memory.h"

namespace headscope::gpu {

class WeightCache {
 public:
  /// budget: bytes of device memory that weights may take together.
  WeightCache(cudaStream_t stream, size_t budget);
  ~WeightCache();
  WeightCache(const WeightCache&) = delete;

  /// Places asked for from now on are valid as long as owner lives; drops what earlier owners left behind when they died.
  void keep(std::shared_ptr<const void> owner);
  /// The device copy of `bytes` bytes at `host`. Valid until the next call of get() (kernels already queued are safe).
  const std::byte* get(const std::byte* host, size_t bytes);

 private:
  struct Entry {
    const std::byte* host;
    size_t bytes;
    std::weak_ptr<const void> owner;
    DeviceArray<std::byte> device;
  };
  using Entries = std::list<Entry>;  // most recently used first

  void upload(const std::byte* host, size_t bytes, std::byte* device);
  void makeRoom(size_t bytes);
  void drop(Entries::iterator entry);

  static constexpr size_t kPieceBytes = size_t{32} << 20;
  cudaStream_t stream_;
  size_t budget_, held_ = 0;
  std::weak_ptr<const void> owner_;
  Entries entries_;
  std::map<std::pair<const std::byte*, size_t>, Entries::iterator> index_;
  std::array<std::byte*, 2> pinned_{};
  std::array<cudaEvent_t, 2> sent_{};
};

}  // namespace headscope::gpu
