#pragma once
// MappedFile: a file's bytes, mapped read-only. Costs address space only; pages come when touched.
//
// Another program may cut the file short meanwhile. What lies past the new end is then read as zeros, the file is marked, and whoever
// computed with it says so: see CutWatch. (The last page of what is left gives no sign; nor does a file rewritten in place.)
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace headscope::core {

class MappedFile {
 public:
  /// Throws Error naming the file when it can't be opened or is not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// Valid as long as the object.
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  /// Throws Error naming the file when bytes past its end were read since it was opened.
  void requireWhole() const;

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size);
  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
  size_t slot_;  // of the table that the signal handler reads
};

/// Sees whether a mapped file turned out to be cut short while something was computed.
class CutWatch {
 public:
  CutWatch();
  /// Throws Error when one did since the watch began: what was computed may hold zeros for weights.
  void check() const;
  /// The same for any file cut short that no check has reported yet: before results are written where they stay. Once per file.
  static void checkUnreported();

 private:
  uint64_t seen_;
};

/// Takes the mapped pages inside `bytes` out of this process's memory; they are read again from the page cache when touched.
/// For passes over files larger than the memory that a computation may hold.
void releasePages(std::span<const std::byte> bytes);

}  // namespace headscope::core
