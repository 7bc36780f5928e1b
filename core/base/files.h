#pragma once
// Files on disk: read whole with a bound, write whole or not at all. Mapping one: core/base/mapped_file.h.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

namespace headscope::core {

/// The whole file as text. Throws Error naming the file when it is absent, unreadable or longer than `limit` bytes.
std::string readTextFile(const std::filesystem::path& path, uint64_t limit);

/// Writes a file whole or not at all: `write` fills a stream on a temporary file beside `path`, which is checked, flushed
/// to disk and renamed over `path`. On any failure, a mapped file found cut short among them (CutWatch), the old file stays as it was and
/// an Error says why.
void writeFileWhole(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);

}  // namespace headscope::core
