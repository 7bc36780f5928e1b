// Fibers for a block's threads, and device memory between guards.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/gpu_check/emulation/cuda_runtime.h"

EmulatedIndex threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
namespace {

constexpr size_t kStackBytes = 256 << 10, kMostThreads = 1024, kGuard = 256;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "emulated card: %s\n", what);
  std::abort();
}

/// Threads that wait for one another; any: whether one of them said yes.
struct Meeting {
  unsigned size = 0, arrived = 0, generation = 0;
  int any = 0, anyBefore = 0;
};

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
};

struct Fiber {
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
  jmp_buf here;
  ucontext_t start;
  bool isStarted = false, isDone = true;
  const Meeting* waitsFor = nullptr;  // until its generation is another
  unsigned generation = 0;
  void begin() {
    isDone = false, waitsFor = nullptr;
    open.clear(), groups.clear();
  }
  bool isWaiting() const { return waitsFor != nullptr && waitsFor->generation == generation; }
};

class Block {
 public:
  void run(const Launch& launch, const std::function<void()>& body) {
    if (launch.block == 0 || launch.block > kMostThreads || launch.block % 32 != 0) fail("a block of an odd size");
    body_ = &body;
    while (fibers_.size() < launch.block) add();
    const char* order = std::getenv("EMULATED_BACKWARDS");
    const bool isBackwards = order != nullptr && *order == '1';
    gridDim.x = launch.grid, blockDim.x = launch.block;
    for (unsigned b = 0; b < launch.grid; ++b) {
      blockIdx.x = b;
      std::memset(shared_, 0xFF, launch.shared);
      all_ = {launch.block, 0, 0, 0, 0};
      for (Meeting& warp : warps_) warp = {32, 0, 0, 0, 0};
      for (unsigned t = 0; t < launch.block; ++t) fibers_[t]->begin();
      const unsigned warps = launch.block / 32;
      for (unsigned left = launch.block; left > 0;) {
        left = 0;
        for (unsigned w = 0; w < warps; ++w) left += runWarp(isBackwards ? warps - 1 - w : w, isBackwards);
      }
    }
  }

  int meet(Meeting& meeting, int value) {
    const unsigned generation = meeting.generation;
    meeting.any |= value;
    if (++meeting.arrived == meeting.size) {
      meeting.arrived = 0, meeting.anyBefore = meeting.any, meeting.any = 0;
      ++meeting.generation;
    } else {
      Fiber& fiber = *fibers_[threadIdx.x];
      fiber.waitsFor = &meeting, fiber.generation = generation;
      while (meeting.generation == generation) yield();
      fiber.waitsFor = nullptr;
    }
    return meeting.anyBefore;
  }
  Meeting& all() { return all_; }

  uint64_t exchange(uint64_t mine, unsigned step) {
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // Two sets of slots in turn: nobody writes the first again before all have read it
    uint64_t* slots = slots_[warp][warps_[warp].generation & 1];
    slots[lane] = mine;
    meet(warps_[warp], 0);
    return slots[lane ^ step];
  }

  const unsigned char* ofWarp(const void* mine, size_t bytes) {
    const unsigned warp = threadIdx.x / 32;
    if (bytes > kLaneBytes) fail("more than a lane can give");
    unsigned char* slots = wide_[warp][warps_[warp].generation & 1];
    std::memcpy(slots + threadIdx.x % 32 * bytes, mine, bytes);
    meet(warps_[warp], 0);
    return slots;
  }

  void copyLater(const Copy& copy) { fibers_[threadIdx.x]->open.push_back(copy); }
  void endCopyGroup() {
    Fiber& fiber = *fibers_[threadIdx.x];
    fiber.groups.push_back(std::move(fiber.open));
    fiber.open.clear();
  }
  void waitForCopies(size_t groupsLeft) {
    for (std::deque<std::vector<Copy>>& groups = fibers_[threadIdx.x]->groups; groups.size() > groupsLeft; groups.pop_front()) {
      for (const Copy& c : groups.front()) c.from != nullptr ? std::memcpy(c.to, c.from, c.bytes) : std::memset(c.to, 0, c.bytes);
    }
  }

  void* shared() { return shared_; }

 private:
  void add() {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fiber.start.uc_stack.ss_sp == MAP_FAILED) fail("no memory for a thread");
    fiber.start.uc_stack.ss_size = kStackBytes, fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, reinterpret_cast<void (*)()>(&Block::enter), 0);
  }
  /// Until its threads have ended or wait for other warps; returns how many have not ended.
  unsigned runWarp(unsigned warp, bool isBackwards) {
    unsigned left = 32;
    for (bool isMoving = true; isMoving;) {
      isMoving = false, left = 0;
      for (unsigned i = 0; i < 32; ++i) {
        const unsigned t = warp * 32 + (isBackwards ? 31 - i : i);
        if (fibers_[t]->isDone) continue;
        if (!fibers_[t]->isWaiting()) {
          resume(t);
          isMoving = true;
        }
        left += fibers_[t]->isDone ? 0 : 1;
      }
    }
    return left;
  }
  void resume(unsigned t) {
    threadIdx.x = t;
    if (_setjmp(main_) != 0) return;
    Fiber& fiber = *fibers_[t];
    if (fiber.isStarted) _longjmp(fiber.here, 1);
    fiber.isStarted = true;
    setcontext(&fiber.start);
  }
  void yield() {
    const unsigned t = threadIdx.x;
    if (_setjmp(fibers_[t]->here) == 0) _longjmp(main_, 1);
    threadIdx.x = t;
  }
  static void enter();

  std::vector<std::unique_ptr<Fiber>> fibers_;
  jmp_buf main_;
  Meeting all_;
  Meeting warps_[kMostThreads / 32];
  uint64_t slots_[kMostThreads / 32][2][32];
  alignas(64) unsigned char wide_[kMostThreads / 32][2][32 * kLaneBytes];
  const std::function<void()>* body_ = nullptr;
  alignas(64) unsigned char shared_[kSharedBytes];
};

Block& block() {
  static auto* only = new Block();
  return *only;
}

void Block::enter() {
  for (;;) {
    (*block().body_)();
    block().fibers_[threadIdx.x]->isDone = true;
    block().yield();
  }
}

struct Memory {
  std::mutex mutex;
  std::map<void*, size_t> taken;
  size_t held = 0;
  size_t limit() const {
    const char* text = std::getenv("EMULATED_MIB");
    return (text != nullptr ? std::strtoull(text, nullptr, 10) : 4096) << 20;
  }
};
Memory& memory() {
  static auto* only = new Memory();
  return *only;
}
std::mutex& launching() {
  static auto* only = new std::mutex();
  return *only;
}
size_t& allowed() {
  static size_t bytes = kSharedUnasked;
  return bytes;
}

}  // namespace

void allowShared(const void*, size_t bytes) {
  if (bytes > kSharedBytes) fail("more shared memory than a block may have");
  allowed() = std::max(allowed(), bytes);
}

void run(const Launch& launch, const void*, const std::function<void()>& body) {
  const std::lock_guard lock(launching());
  if (launch.shared > allowed()) fail("shared memory was not asked for");
  if (launch.grid == 0) fail("an empty grid");
  block().run(launch, body);
}

void* dynamicShared() { return block().shared(); }
uint64_t exchange(uint64_t mine, unsigned step) { return block().exchange(mine, step); }
const unsigned char* ofWarp(const void* mine, size_t bytes) { return block().ofWarp(mine, bytes); }
void copyLater(void* to, const void* from, size_t bytes) { block().copyLater({to, from, bytes}); }
void endCopyGroup() { block().endCopyGroup(); }
void waitForCopies(size_t groupsLeft) { block().waitForCopies(groupsLeft); }
void misaligned() { fail("16 bytes that are not aligned"); }

}  // namespace emulation

void __syncthreads() { emulation::block().meet(emulation::block().all(), 0); }
int __syncthreads_or(int value) { return emulation::block().meet(emulation::block().all(), value != 0 ? 1 : 0); }

// Memory starts as 0xFF, which is NaN, between guards of the same: what is read and was never written shows, so does a write beyond.
cudaError_t cudaMallocAsync(void** place, size_t bytes, cudaStream_t) {
  auto& m = emulation::memory();
  const std::lock_guard lock(m.mutex);
  if (m.held + bytes > m.limit()) return cudaErrorMemoryAllocation;
  auto* whole = static_cast<unsigned char*>(std::aligned_alloc(256, (bytes + 2 * emulation::kGuard + 255) / 256 * 256));
  if (whole == nullptr) return cudaErrorMemoryAllocation;
  std::memset(whole, 0xFF, bytes + 2 * emulation::kGuard);
  m.held += bytes;
  *place = whole + emulation::kGuard;
  m.taken[*place] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* place, cudaStream_t) {
  auto& m = emulation::memory();
  const std::lock_guard lock(m.mutex);
  const auto found = m.taken.find(place);
  if (found == m.taken.end()) emulation::fail("freeing what was not taken");
  auto* data = static_cast<unsigned char*>(place);
  for (size_t i = 1; i <= emulation::kGuard; ++i) {
    if (data[-static_cast<ptrdiff_t>(i)] != 0xFF || data[found->second + i - 1] != 0xFF) emulation::fail("a write beyond an array");
  }
  std::memset(data, 0xFF, found->second);
  m.held -= found->second;
  m.taken.erase(found);
  std::free(data - emulation::kGuard);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** place, size_t bytes) {
  return (*place = std::malloc(bytes)) != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* place) { return std::free(place), cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  auto& m = emulation::memory();
  const std::lock_guard lock(m.mutex);
  *total = m.limit(), *free = m.limit() - std::min(m.limit(), m.held);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* card, int) {
  std::snprintf(card->name, sizeof card->name, "emulated card");
  card->major = 9, card->minor = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  return *value = which == cudaDevAttrMultiProcessorCount ? 2 : static_cast<int>(emulation::kSharedBytes), cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) { return error == cudaErrorMemoryAllocation ? "out of memory" : "an error"; }
