#include "gpu/device/pinned_pipe.h"

#include <algorithm>
#include <cstring>

#include "core/base/parallel.h"
#include "gpu/device/check.h"

namespace headscope::gpu {
namespace {

constexpr size_t kCopyBytes = size_t{1} << 20;  // of one core at a time
/// From here on all cores copy, out of a pool that is the plug-in's own: who waits in it takes up no other work for the card meanwhile.
constexpr size_t kManyBytes = size_t{4} << 20;

}  // namespace

PinnedPipe::PinnedPipe(cudaStream_t stream, size_t halfBytes) : stream_(stream), halfBytes_(halfBytes) {
  for (size_t i = 0; i < 2; ++i) {
    const cudaError_t memory = cudaMallocHost(reinterpret_cast<void**>(&pinned_[i]), halfBytes);
    const cudaError_t event = memory == cudaSuccess ? cudaEventCreateWithFlags(&sent_[i], cudaEventDisableTiming) : memory;
    if (event == cudaSuccess) continue;
    release();  // a constructor that throws has no destructor
    check(event, "taking pinned memory");
  }
}

PinnedPipe::~PinnedPipe() { release(); }

void PinnedPipe::release() {
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

void PinnedPipe::copy(size_t total) {
  const auto one = [&](int64_t i) {
    const Copy& c = copies_[static_cast<size_t>(i)];
    std::memcpy(c.to, c.from, c.bytes);
  };
  const auto count = static_cast<int64_t>(copies_.size());
  if (total >= kManyBytes) {
    core::parallelFor(count, one);
  } else {
    for (int64_t i = 0; i < count; ++i) one(i);
  }
}

void PinnedPipe::send(void* device, const void* host, size_t bytes) {
  const HostPiece piece{host, bytes};
  send(device, {&piece, 1});
}

void PinnedPipe::send(void* device, std::span<const HostPiece> pieces) {
  auto* to = static_cast<std::byte*>(device);
  size_t done = 0;  // bytes of the first piece that is left
  while (!pieces.empty()) {
    if (used_ >= halfBytes_) turn();
    std::byte* const start = pinned_[half_] + used_;
    const size_t room = halfBytes_ - used_;
    size_t filled = 0;
    copies_.clear();
    while (!pieces.empty() && filled < room) {
      const HostPiece& piece = pieces.front();
      const size_t bytes = std::min({piece.bytes - done, room - filled, kCopyBytes});
      if (bytes > 0) copies_.push_back({start + filled, static_cast<const std::byte*>(piece.data) + done, bytes});
      filled += bytes, done += bytes;
      if (done == piece.bytes) pieces = pieces.subspan(1), done = 0;
    }
    if (filled == 0) return;  // pieces of nothing
    copy(filled);
    check(cudaMemcpyAsync(to, start, filled, cudaMemcpyHostToDevice, stream_), "copying to the device");
    used_ = std::min(halfBytes_, (used_ + filled + 15) / 16 * 16);
    to += filled;
  }
}

}  // namespace headscope::gpu
