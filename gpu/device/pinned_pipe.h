#pragma once
// PinnedPipe: host numbers to the card in stream order, through two pinned buffers: the source may go as soon as send() returns,
// and nobody waits for the card unless both buffers are still on their way. While one travels the other is filled.
#include <cuda_runtime.h>

#include <array>
#include <cstddef>

namespace headscope::gpu {

class PinnedPipe {
 public:
  /// halfBytes: size of each buffer.
  PinnedPipe(cudaStream_t stream, size_t halfBytes);
  ~PinnedPipe();
  PinnedPipe(const PinnedPipe&) = delete;
  PinnedPipe& operator=(const PinnedPipe&) = delete;

  cudaStream_t stream() const { return stream_; }
  void send(void* device, const void* host, size_t bytes);

 private:
  void turn();
  cudaStream_t stream_;
  size_t halfBytes_, used_ = 0, half_ = 0;
  std::array<std::byte*, 2> pinned_{};
  std::array<cudaEvent_t, 2> sent_{};
};

}  // namespace headscope::gpu
