#pragma once
// ShardIndex: what model.safetensors.index.json says: which tensor lies in which file.
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace headscope::core {

struct ShardIndex {
  std::vector<std::string> files;                         // plain file names, in order of first mention
  std::vector<std::pair<std::string, uint32_t>> tensors;  // name, index into files; sorted by name
};

/// Throws Error naming `where` and the entry on anything but JSON with {"weight_map": {tensor: file}}: a file name with a path
/// separator or "..", a name twice, depth beyond 16.
ShardIndex parseShardIndex(const std::string& text, const std::string& where);
ShardIndex readShardIndex(const std::filesystem::path& path);

}  // namespace headscope::core
