#include "gpu/device/pinned_pipe.h"

#include <algorithm>
#include <cstring>

#include "gpu/device/check.h"

namespace headscope::gpu {

PinnedPipe::PinnedPipe(cudaStream_t stream, size_t halfBytes) : stream_(stream), halfBytes_(halfBytes) {
  for (size_t i = 0; i < 2; ++i) {
    const cudaError_t memory = cudaMallocHost(reinterpret_cast<void**>(&pinned_[i]), halfBytes);
    const cudaError_t event = memory == cudaSuccess ? cudaEventCreateWithFlags(&sent_[i], cudaEventDisableTiming) : memory;
    if (event == cudaSuccess) continue;
    this->~PinnedPipe();  // a constructor that throws has no destructor
    check(event, "taking pinned memory");
  }
}

PinnedPipe::~PinnedPipe() {
  for (size_t i = 0; i < 2; ++i) {
    if (sent_[i] != nullptr) {
      cudaStreamSynchronize(stream_);
      cudaEventDestroy(sent_[i]);
    }
    if (pinned_[i] != nullptr) cudaFreeHost(pinned_[i]);
    sent_[i] = nullptr, pinned_[i] = nullptr;
  }
}

void PinnedPipe::turn() {
  check(cudaEventRecord(sent_[half_], stream_), "recording an event");
  half_ = 1 - half_;
  used_ = 0;
  check(cudaEventSynchronize(sent_[half_]), "waiting for a copy");  // at once where it was never recorded
}

void PinnedPipe::send(void* device, const void* host, size_t bytes) {
  auto* to = static_cast<std::byte*>(device);
  const auto* from = static_cast<const std::byte*>(host);
  while (bytes > 0) {
    if (used_ >= halfBytes_) turn();
    const size_t piece = std::min(bytes, halfBytes_ - used_);
    std::memcpy(pinned_[half_] + used_, from, piece);
    check(cudaMemcpyAsync(to, pinned_[half_] + used_, piece, cudaMemcpyHostToDevice, stream_), "copying to the device");
    used_ = std::min(halfBytes_, (used_ + piece + 15) / 16 * 16);
    to += piece, from += piece, bytes -= piece;
  }
}

}  // namespace headscope::gpu
