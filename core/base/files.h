#pragma once
// Files on disk: read whole with a bound, map read-only, write whole or not at all.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>

namespace headscope::core {

/// A file mapped read-only. The bytes stay valid as long as the object; the file may not shrink meanwhile.
class MappedFile {
 public:
  /// Throws Error naming the file when it can't be opened or is not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile(std::filesystem::path path, const std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::filesystem::path path_;
  const std::byte* data_;
  size_t size_;
};

/// Takes the mapped pages inside `bytes` out of this process's memory; they are read again from the page cache when touched.
/// For passes over files larger than the memory that a computation may hold.
void releasePages(std::span<const std::byte> bytes);

/// The whole file as text. Throws Error naming the file when it is absent, unreadable or longer than `limit` bytes.
std::string readTextFile(const std::filesystem::path& path, uint64_t limit);

/// Writes a file whole or not at all: `write` fills a stream on a temporary file beside `path`, which is checked, flushed
/// to disk and renamed over `path`. On any failure the old file stays as it was and an Error says why.
void writeFileWhole(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);

}  // namespace headscope::core
