#pragma once
// HostMemory: where the CPU's tensors lie. A layer's queries, keys and values are large, new in every run and of the same sizes in
// the next one (a slider moved, a head replaced), and a system hands out memory by clearing it, a small page at a time. So large
// blocks lie on huge pages where the system has them, and freed ones are kept for the next of their size, kKeptBytes at most.
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

namespace headscope::core::cpu {

class HostMemory {
 public:
  /// Of freed blocks; beyond it they go back to the system.
  static constexpr size_t kKeptBytes = size_t{128} << 20;

  HostMemory() = default;
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;

  /// Uninitialised, 64-byte aligned; nullptr for 0. Throws std::bad_alloc.
  float* take(size_t bytes);
  /// Gives back what take(bytes) returned.
  void give(float* block, size_t bytes) noexcept;
  /// Bytes of freed blocks that are kept.
  size_t keptBytes() const;

 private:
  struct Free {
    void operator()(float* block) const;
  };
  using Block = std::unique_ptr<float, Free>;

  mutable std::mutex mutex_;
  std::multimap<size_t, Block> kept_;  // by size
  size_t keptBytes_ = 0;
};

}  // namespace headscope::core::cpu
