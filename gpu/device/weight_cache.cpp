#include "gpu/device/weight_cache.h"

#include <algorithm>
#include <cstring>

namespace headscope::gpu {

WeightCache::WeightCache(cudaStream_t stream, size_t budget) : stream_(stream), budget_(budget) {
  for (size_t i = 0; i < pinned_.size(); ++i) {
    check(cudaMallocHost(reinterpret_cast<void**>(&pinned_[i]), kPieceBytes), "allocating pinned memory");
    check(cudaEventCreateWithFlags(&sent_[i], cudaEventDisableTiming), "creating an event");
  }
}

WeightCache::~WeightCache() {
  entries_.clear();
  for (size_t i = 0; i < pinned_.size(); ++i) {
    if (sent_[i] != nullptr) {
      cudaEventSynchronize(sent_[i]);
      cudaEventDestroy(sent_[i]);
    }
    cudaFreeHost(pinned_[i]);
  }
}

void WeightCache::keep(std::shared_ptr<const void> owner) {
  owner_ = owner;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto next = std::next(it);
    if (it->owner.expired()) drop(it);
    it = next;
  }
}

const std::byte* WeightCache::get(const std::byte* host, size_t bytes) {
  const auto found = index_.find({host, bytes});
  if (found != index_.end() && !found->second->owner.expired()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front().device.data();
  }
  if (found != index_.end()) drop(found->second);
  makeRoom(bytes);
  entries_.push_front({host, bytes, owner_, DeviceArray<std::byte>(static_cast<int64_t>(bytes), stream_)});
  index_[{host, bytes}] = entries_.begin();
  held_ += bytes;
  upload(host, bytes, entries_.front().device.data());
  return entries_.front().device.data();
}

void WeightCache::upload(const std::byte* host, size_t bytes, std::byte* device) {
  size_t slot = 0;
  for (size_t done = 0; done < bytes; done += kPieceBytes, slot = 1 - slot) {
    const size_t piece = std::min(kPieceBytes, bytes - done);
    check(cudaEventSynchronize(sent_[slot]), "waiting for an upload");
    std::memcpy(pinned_[slot], host + done, piece);
    check(cudaMemcpyAsync(device + done, pinned_[slot], piece, cudaMemcpyHostToDevice, stream_), "uploading weights");
    check(cudaEventRecord(sent_[slot], stream_), "recording an event");
  }
}

void WeightCache::makeRoom(size_t bytes) {
  while (!entries_.empty() && held_ + bytes > budget_) drop(std::prev(entries_.end()));
}

void WeightCache::drop(Entries::iterator entry) {
  held_ -= entry->bytes;
  index_.erase({entry->host, entry->bytes});
  entries_.erase(entry);
}

}  // namespace headscope::gpu
