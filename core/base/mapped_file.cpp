#include "core/base/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <mutex>
#include <string>

#include "core/base/descriptor.h"
#include "core/base/error.h"

namespace headscope::core {
namespace fs = std::filesystem;
namespace {

constexpr size_t kSlots = 4096, kNoSlot = kSlots;  // files beyond are mapped all the same; cut short, they end the program

/// One mapping as the signal handler sees it: addresses [begin, end), whole pages.
struct Slot {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> isCut{false};
};

std::array<Slot, kSlots> slots;
std::atomic<uint64_t> cuts{0};                        // times that bytes past an end were read
std::atomic<uint64_t> cutFiles{0}, reportedFiles{0};  // a file once, however often it is read past its end
std::mutex names;                                     // guards taking and leaving slots, and what follows
std::array<const fs::path*, kSlots> paths{};
std::string lastCut;  // of a file that is closed by now

struct sigaction previous {};
uintptr_t pageSize = 4096;

/// Past the end of a mapped file there is no page (SIGBUS). From there to the end of the mapping, zeros take its place.
void onBusError(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Slot& slot : slots) {
    const uintptr_t begin = slot.begin.load(std::memory_order_acquire), end = slot.end.load(std::memory_order_acquire);
    if (address < begin || address >= end) continue;
    const int code = errno;
    const uintptr_t page = address / pageSize * pageSize;
    void* zeros =
        ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    errno = code;
    if (zeros == MAP_FAILED) break;
    if (!slot.isCut.exchange(true, std::memory_order_acq_rel)) cutFiles.fetch_add(1, std::memory_order_acq_rel);
    cuts.fetch_add(1, std::memory_order_acq_rel);
    return;
  }
  ::sigaction(signal, &previous, nullptr);  // not ours: it happens again, to who was there before
  if (info->si_code <= 0) ::raise(signal);  // sent by a process: nothing would repeat it
}

void watchForCuts() {
  static std::once_flag once;
  std::call_once(once, [] {
    pageSize = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action {};
    action.sa_sigaction = onBusError;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previous);
  });
}

[[noreturn]] void report(const std::string& path) {
  reportedFiles.store(cutFiles.load(std::memory_order_acquire), std::memory_order_release);
  throw Error("another program cut the file short while it was open", path, "open it again");
}

/// The path of a file that was cut, "" when none is known.
std::string nameOfCut() {
  const std::lock_guard lock(names);
  for (size_t i = 0; i < kSlots; ++i) {
    if (paths[i] != nullptr && slots[i].isCut.load(std::memory_order_acquire)) return paths[i]->string();
  }
  return lastCut;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) throw Error("can't open the file: " + systemMessage(errno), path.string());
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) throw Error("can't read the file's size: " + systemMessage(errno), path.string());
  if (!S_ISREG(info.st_mode)) throw Error("not a regular file", path.string());
  const auto size = static_cast<size_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    watchForCuts();
    void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (mapped == MAP_FAILED) throw Error("can't map the file: " + systemMessage(errno), path.string());
    data = static_cast<const std::byte*>(mapped);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(path, data, size));
}

MappedFile::MappedFile(fs::path path, const std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size), slot_(kNoSlot) {
  if (data == nullptr) return;
  const std::lock_guard lock(names);
  for (size_t i = 0; i < kSlots && slot_ == kNoSlot; ++i) {
    if (paths[i] == nullptr) slot_ = i;
  }
  if (slot_ == kNoSlot) return;
  paths[slot_] = &path_;
  Slot& slot = slots[slot_];
  const auto begin = reinterpret_cast<uintptr_t>(data);
  slot.isCut.store(false);
  slot.end.store((begin + size + pageSize - 1) / pageSize * pageSize);
  slot.begin.store(begin, std::memory_order_release);
}

MappedFile::~MappedFile() {
  if (slot_ != kNoSlot) {
    const std::lock_guard lock(names);
    Slot& slot = slots[slot_];
    if (slot.isCut.load()) lastCut = path_.string();
    slot.begin.store(0), slot.end.store(0);
    paths[slot_] = nullptr;
  }
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::requireWhole() const {
  if (slot_ != kNoSlot && slots[slot_].isCut.load(std::memory_order_acquire)) report(path_.string());
}

CutWatch::CutWatch() : seen_(cuts.load(std::memory_order_acquire)) {}
void CutWatch::check() const {
  if (cuts.load(std::memory_order_acquire) > seen_) report(nameOfCut());
}
void CutWatch::checkUnreported() {
  if (cutFiles.load(std::memory_order_acquire) > reportedFiles.load(std::memory_order_acquire)) report(nameOfCut());
}

void releasePages(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // a hint: failure changes nothing
}

}  // namespace headscope::core
