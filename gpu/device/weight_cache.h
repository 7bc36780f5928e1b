#pragma once
// WeightCache: stored tensors on the device, as they are stored (bf16, f16, f8 stay so), uploaded once when first needed and
// dropped, least recently used first, when the card is short: a model larger than the card streams through it layer by layer.
//
// Uploads run on a stream of their own through two pinned buffers, so that expect() fetches the next layer's weights while the
// compute stream still works on this one's; get() makes the compute stream wait for the upload it needs and for nothing else.
// Keys are places in host memory; a place is only trusted while the owner that vouched for it lives.
#include <cuda_runtime.h>

#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <utility>

#include "gpu/device/device_memory.h"

namespace headscope::gpu {

class WeightCache {
 public:
  /// budget: bytes of device memory that weights may take together.
  WeightCache(std::shared_ptr<Stream> compute, size_t budget);
  ~WeightCache();
  WeightCache(const WeightCache&) = delete;
  WeightCache& operator=(const WeightCache&) = delete;

  /// Places asked for without an owner are valid as long as this one lives; drops what earlier owners left behind when they died.
  void keep(std::shared_ptr<const void> owner);
  /// The device copy of `bytes` bytes at `host`. Valid until the next call of get() (kernels already queued are safe).
  const std::byte* get(const std::byte* host, size_t bytes, std::weak_ptr<const void> owner);
  const std::byte* get(const std::byte* host, size_t bytes) { return get(host, bytes, owner_); }
  /// Starts the upload of what get() will be asked for, where there is room beside what is in use.
  void expect(const std::byte* host, size_t bytes);
  /// Gives all memory back; true where there was any.
  bool dropAll();

 private:
  struct Entry {
    const std::byte* host;
    size_t bytes;
    std::weak_ptr<const void> owner;
    std::byte* device;
    cudaEvent_t ready;
    bool isAwaited;  // by the compute stream
  };
  using Entries = std::list<Entry>;  // most recently used first

  Entry& find(const std::byte* host, size_t bytes, const std::weak_ptr<const void>& owner);
  void upload(Entry& entry);
  void release(Entry& entry);
  void makeRoom(size_t bytes);
  void drop(Entries::iterator entry);

  static constexpr size_t kHalfBytes = size_t{32} << 20;
  std::shared_ptr<Stream> compute_;
  Stream copies_;
  PinnedPipe pipe_{copies_.get(), kHalfBytes};
  size_t budget_, held_ = 0;
  std::weak_ptr<const void> owner_;
  Entries entries_;
  std::map<std::pair<const std::byte*, size_t>, Entries::iterator> index_;
};

}  // namespace headscope::gpu
