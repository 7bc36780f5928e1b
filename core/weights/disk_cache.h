#pragma once
// DiskCache: results by content hash in the user's cache folder, so that reopening a model is instant and a stopped run goes on
// where it was. Safe to delete at any time; kept below a size limit by dropping what was used longest ago. An entry that can't
// be read or is damaged is as good as absent; one that can't be written is left out: the cache never makes a computation fail.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace headscope::core {

class DiskCache {
 public:
  /// No cache: nothing is found, nothing kept.
  DiskCache() = default;
  DiskCache(std::filesystem::path folder, uint64_t limitBytes) : folder_(std::move(folder)), limit_(limitBytes) {}
  /// $XDG_CACHE_HOME/headscope or ~/.cache/headscope, 512 MB; no cache where neither is known.
  static DiskCache ofUser();

  bool isOn() const { return !folder_.empty(); }
  const std::filesystem::path& folder() const { return folder_; }
  /// key: a ContentHash's text.
  std::optional<std::string> read(const std::string& key) const;
  void write(const std::string& key, std::string_view bytes) const;

 private:
  void trim() const;
  std::filesystem::path folder_;
  uint64_t limit_ = 0;
};

}  // namespace headscope::core
