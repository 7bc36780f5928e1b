#pragma once
// SafetensorsFile: one safetensors file, mapped, its header read and checked. Tensors are bytes in the map, decoded by others.
//
// Format (huggingface/safetensors): 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
// then the data without gaps. Everything is hostile until checked; errors name file, tensor and offset.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/mapped_file.h"
#include "core/tensor/dtype.h"

namespace headscope::core {

struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  // first byte, inside a mapped file; may be unaligned
  size_t file = 0;                  // index into Checkpoint::files(); 0 in a file opened alone

  int64_t count() const;  // elements
  uint64_t bytes() const { return static_cast<uint64_t>(count()) * sizeOf(dtype); }
  std::string shapeText() const;  // "[64, 96]"
};

/// What a header says. The tensors' data point into the bytes that were parsed.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  // sorted by name
  std::map<std::string, std::string> metadata;
};

/// Reads and checks the header of a whole file's bytes. Throws Error naming `where`, tensor and offset when anything is not as
/// the format says: header length, JSON (depth, duplicate keys), dtype, shape (negative, overflowing), offsets (order,
/// overlap, gaps, past the end, not the size that dtype and shape make). Memory: about 200 bytes a tensor.
SafetensorsHeader parseSafetensors(std::span<const std::byte> bytes, const std::string& where, size_t file = 0);

class SafetensorsFile {
 public:
  /// Throws Error as parseSafetensors, and when the file can't be mapped. `file` is what TensorInfo::file says.
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path, size_t file = 0);

  const std::filesystem::path& path() const { return map_->path(); }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }  // sorted by name
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  /// The tensor, or nullptr.
  const TensorInfo* find(std::string_view name) const;
  uint64_t bytes() const { return map_->bytes().size(); }
  /// Throws Error when the file was found cut short since it was opened.
  void requireWhole() const { map_->requireWhole(); }

 private:
  SafetensorsFile() = default;
  std::shared_ptr<const MappedFile> map_;
  SafetensorsHeader header_;
};

}  // namespace headscope::core
