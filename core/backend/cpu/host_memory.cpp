#include "core/backend/cpu/host_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <iterator>
#include <new>
#include <utility>

namespace headscope::core::cpu {
namespace {

constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;

size_t roundedUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

/// What is taken for `bytes`: whole huge pages where at most a quarter of one stays unused.
size_t blockSize(size_t bytes) {
  const size_t pages = roundedUp(bytes, kHugePage);
  return pages - bytes <= kHugePage / 4 ? pages : roundedUp(bytes, kLine);
}

}  // namespace

void HostMemory::Free::operator()(float* block) const { std::free(block); }

float* HostMemory::take(size_t bytes) {
  if (bytes == 0) return nullptr;
  const size_t size = blockSize(bytes), huge = size / kHugePage * kHugePage;
  if (huge > 0) {
    const std::lock_guard lock(mutex_);
    if (const auto found = kept_.find(size); found != kept_.end()) {
      float* block = found->second.release();
      kept_.erase(found);
      keptBytes_ -= size;
      return block;
    }
  }
  void* memory = nullptr;  // not aligned_alloc: it asks for sizes that are whole multiples of the alignment
  if (::posix_memalign(&memory, huge > 0 ? kHugePage : kLine, size) != 0) throw std::bad_alloc();
  auto* block = static_cast<float*>(memory);
  if (huge > 0) ::madvise(block, huge, MADV_HUGEPAGE);  // a hint: the memory is the same without it
  return block;
}

void HostMemory::give(float* block, size_t bytes) noexcept {
  Block owned(block);
  const size_t size = blockSize(bytes);
  if (size < kHugePage || size > kKeptBytes) return;
  const std::lock_guard lock(mutex_);
  // Sizes of an earlier prompt make room for this one's
  while (keptBytes_ + size > kKeptBytes) {
    const auto other = kept_.begin()->first == size ? std::prev(kept_.end()) : kept_.begin();
    if (other->first == size) return;
    keptBytes_ -= other->first;
    kept_.erase(other);
  }
  try {
    kept_.emplace(size, std::move(owned));
    keptBytes_ += size;
  } catch (const std::bad_alloc&) {
    // then it is freed, which is what to do when memory is short
  }
}

size_t HostMemory::keptBytes() const {
  const std::lock_guard lock(mutex_);
  return keptBytes_;
}

}  // namespace headscope::core::cpu
