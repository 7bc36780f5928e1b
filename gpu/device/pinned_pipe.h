#pragma once
// PinnedPipe: host numbers to the card in stream order, through two pinned buffers: the source may go as soon as send() returns,
// and nobody waits for the card unless both buffers are still on their way. While one travels the other is filled, by all cores where
// there is much: one core copies at a fifth of what the card's bus takes.
#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace headscope::gpu {

struct HostPiece {
  const void* data;
  size_t bytes;
};

class PinnedPipe {
 public:
  /// halfBytes: size of each buffer.
  PinnedPipe(cudaStream_t stream, size_t halfBytes);
  ~PinnedPipe();
  PinnedPipe(const PinnedPipe&) = delete;
  PinnedPipe& operator=(const PinnedPipe&) = delete;

  cudaStream_t stream() const { return stream_; }
  void send(void* device, const void* host, size_t bytes);
  /// The pieces one after another.
  void send(void* device, std::span<const HostPiece> pieces);

 private:
  struct Copy {
    std::byte* to;
    const std::byte* from;
    size_t bytes;
  };
  void release();
  void turn();
  void copy(size_t total);

  cudaStream_t stream_;
  size_t halfBytes_, used_ = 0, half_ = 0;
  std::array<std::byte*, 2> pinned_{};
  std::array<cudaEvent_t, 2> sent_{};
  std::vector<Copy> copies_;  // of one filling
};

}  // namespace headscope::gpu
