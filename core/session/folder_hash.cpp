#include "core/session/folder_hash.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

namespace headscope::core {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMostBytes = 1u << 20, kDataBytes = 4096;

uint64_t fnv(uint64_t hash, const char* data, size_t size) {
  for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<unsigned char>(data[i])) * 1099511628211ull;
  return hash;
}

uint64_t addFile(uint64_t hash, const fs::path& path) {
  std::error_code code;
  const uint64_t size = fs::file_size(path, code);
  const std::string name = path.filename().string() + ":" + std::to_string(code ? 0 : size);
  hash = fnv(hash, name.data(), name.size());
  std::ifstream in(path, std::ios::binary);
  std::vector<char> head(static_cast<size_t>(std::min<uint64_t>(code ? 0 : size, kMostBytes)));
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  uint64_t wanted = head.size();
  if (path.extension() == ".safetensors" && head.size() >= 8) {
    uint64_t header = 0;
    std::memcpy(&header, head.data(), 8);
    wanted = std::min<uint64_t>(wanted, header < kMostBytes ? 8 + header + kDataBytes : kMostBytes);
  }
  return fnv(hash, head.data(),
             static_cast<size_t>(std::min<uint64_t>(wanted, static_cast<uint64_t>(std::max<std::streamsize>(0, in.gcount())))));
}

constexpr uint64_t kStart = 14695981039346656037ull;

std::string hex(uint64_t hash) {
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace

std::string contentsHash(std::string_view bytes) { return hex(fnv(kStart, bytes.data(), bytes.size())); }

std::string folderHash(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code code;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    const bool isConfig = name == "config.json" || name == "adapter_config.json";
    const bool isModel = entry.path().extension() == ".safetensors";
    if ((isConfig || isModel) && entry.is_regular_file(code)) files.push_back(entry.path());
  }
  if (files.empty()) return {};
  std::sort(files.begin(), files.end());
  uint64_t hash = kStart;
  for (const fs::path& file : files) hash = addFile(hash, file);
  return hex(hash);
}

}  // namespace headscope::core
