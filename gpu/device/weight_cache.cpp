#include "gpu/device/weight_cache.h"

#include <iterator>

namespace headscope::gpu {

WeightCache::WeightCache(std::shared_ptr<Stream> compute, size_t budget) : compute_(std::move(compute)), budget_(budget) {}

WeightCache::~WeightCache() { dropAll(); }

void WeightCache::keep(std::shared_ptr<const void> owner) {
  owner_ = owner;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto next = std::next(it);
    if (it->owner.expired()) drop(it);
    it = next;
  }
}

const std::byte* WeightCache::get(const std::byte* host, size_t bytes, std::weak_ptr<const void> owner) {
  Entry& entry = find(host, bytes, owner);
  if (!entry.isAwaited) {
    check(cudaStreamWaitEvent(compute_->get(), entry.ready, 0), "waiting for weights");
    entry.isAwaited = true;
  }
  return entry.device;
}

void WeightCache::expect(const std::byte* host, size_t bytes) {
  if (bytes > budget_ / 2) return;  // would push out what is in use
  find(host, bytes, owner_);
}

WeightCache::Entry& WeightCache::find(const std::byte* host, size_t bytes, const std::weak_ptr<const void>& owner) {
  const auto found = index_.find({host, bytes});
  if (found != index_.end() && !found->second->owner.expired()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front();
  }
  if (found != index_.end()) drop(found->second);
  makeRoom(bytes);
  Entry entry{host, bytes, owner, nullptr, nullptr, false};
  try {
    upload(entry);
    entries_.push_front(entry);
    index_[{host, bytes}] = entries_.begin();
  } catch (...) {
    release(entry);
    throw;
  }
  held_ += bytes;
  return entries_.front();
}

void WeightCache::upload(Entry& entry) {
  if (entry.bytes > 0) {
    auto** place = reinterpret_cast<void**>(&entry.device);
    cudaError_t taken = cudaMallocAsync(place, entry.bytes, copies_.get());
    if (taken == cudaErrorMemoryAllocation) {  // others hold the memory that the budget left to weights
      cudaGetLastError();
      entry.device = nullptr;
      dropAll();
      taken = cudaMallocAsync(place, entry.bytes, copies_.get());
    }
    check(taken, "allocating memory for weights");
  }
  check(cudaEventCreateWithFlags(&entry.ready, cudaEventDisableTiming), "creating an event");
  pipe_.send(entry.device, entry.host, entry.bytes);
  check(cudaEventRecord(entry.ready, copies_.get()), "recording an event");
}

void WeightCache::release(Entry& entry) {
  // Freed in the order of the stream that reads it, after the upload
  if (entry.ready != nullptr) {
    if (!entry.isAwaited) cudaStreamWaitEvent(compute_->get(), entry.ready, 0);
    cudaEventDestroy(entry.ready);
  } else if (entry.device != nullptr) {
    cudaStreamSynchronize(copies_.get());
  }
  if (entry.device != nullptr) cudaFreeAsync(entry.device, compute_->get());
}

void WeightCache::makeRoom(size_t bytes) {
  while (!entries_.empty() && held_ + bytes > budget_) drop(std::prev(entries_.end()));
}

bool WeightCache::dropAll() {
  const bool hasAny = held_ > 0;
  while (!entries_.empty()) drop(entries_.begin());
  cudaStreamSynchronize(compute_->get());
  return hasAny;
}

void WeightCache::drop(Entries::iterator entry) {
  held_ -= entry->bytes;
  index_.erase({entry->host, entry->bytes});
  release(*entry);
  entries_.erase(entry);
}

}  // namespace headscope::gpu
