#include "core/weights/disk_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ostream>
#include <vector>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/weights/content_hash.h"

namespace headscope::core {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMagic = "headscope-cache-1\n";
constexpr uint64_t kLargestEntry = uint64_t{1} << 30;

std::string checksum(std::string_view bytes) {
  ContentHash hash;
  hash.add(bytes);
  return hash.text();
}

}  // namespace

DiskCache DiskCache::ofUser() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (cache != nullptr && *cache == '/') {
    folder = fs::path(cache);
  } else if (home != nullptr && *home == '/') {
    folder = fs::path(home) / ".cache";
  } else {
    return {};
  }
  return DiskCache(folder / "headscope", uint64_t{512} << 20);
}

std::optional<std::string> DiskCache::read(const std::string& key) const {
  if (!isOn()) return std::nullopt;
  const fs::path path = folder_ / (key + ".bin");
  std::error_code code;
  if (!fs::exists(path, code)) return std::nullopt;
  try {
    std::string text = readTextFile(path, kLargestEntry);
    const size_t head = kMagic.size() + 32;
    if (text.size() < head || !text.starts_with(kMagic)) return std::nullopt;
    const std::string sum = text.substr(kMagic.size(), 32);
    text.erase(0, head);
    if (sum != checksum(text)) return std::nullopt;
    fs::last_write_time(path, fs::file_time_type::clock::now(), code);
    return text;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void DiskCache::write(const std::string& key, std::string_view bytes) const {
  if (!isOn() || bytes.size() > std::min(limit_, kLargestEntry)) return;
  std::error_code code;
  fs::create_directories(folder_, code);
  if (code) return;
  try {
    writeFileWhole(folder_ / (key + ".bin"), [&](std::ostream& out) { out << kMagic << checksum(bytes) << bytes; });
    trim();
  } catch (const Error&) {
    // A full or read-only cache folder is no fault of the computation.
  }
}

void DiskCache::trim() const {
  struct Entry {
    fs::file_time_type used;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  uint64_t total = 0;
  std::error_code code;
  for (fs::directory_iterator it(folder_, code), end; !code && it != end; it.increment(code)) {
    std::error_code ignored;
    if (it->path().extension() != ".bin" || !it->is_regular_file(ignored)) continue;
    entries.push_back({it->last_write_time(ignored), it->file_size(ignored), it->path()});
    total += entries.back().bytes;
  }
  if (total <= limit_) return;
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= limit_) return;
    std::error_code ignored;
    if (fs::remove(entry.path, ignored)) total -= entry.bytes;
  }
}

}  // namespace headscope::core
