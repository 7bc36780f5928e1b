#pragma once
// Checkpoint: a folder of safetensors files (one, or shards with an index), mapped and never copied whole.
//
// Opening reads and checks headers only: names, shapes, dtypes, offsets; tensors are decoded when asked for. Everything in
// the files is hostile until checked, and errors name file, tensor and offset. Thread-safe once open.
// Format: huggingface/safetensors: 8 bytes little-endian header length, a JSON header, then the data.
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.h"
#include "core/checkpoint/weight_view.h"
#include "core/tensor/dtype.h"

namespace headscope::core {

struct TensorInfo {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  const std::byte* data;  // first byte, inside a mapped file
  size_t file;            // index into Checkpoint::files()

  int64_t count() const;          // elements
  std::string shapeText() const;  // "[64, 96]"
};

/// One safetensors file, mapped and checked.
class SafetensorsFile {
 public:
  /// Throws Error naming file, tensor and offset when anything in the header is not as the format says: header length,
  /// JSON (depth, duplicate keys), dtype, shape (negative, overflowing), offsets (order, overlap, gaps, past the end).
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return map_->path(); }
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The tensor, or nullptr.
  const TensorInfo* find(std::string_view name) const;
  uint64_t bytes() const { return map_->bytes().size(); }

 private:
  SafetensorsFile() = default;
  std::shared_ptr<const MappedFile> map_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

class Checkpoint {
 public:
  /// Opens FOLDER/model.safetensors, or the shards named by model.safetensors.index.json, or (for adapters)
  /// adapter_model.safetensors. Throws Error when none is there or any is broken. Shards that the index names but the
  /// folder lacks are listed in missingFiles() and their tensors in missingTensors(): weight views can still open whole layers.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const { return files_; }
  const std::vector<std::string>& missingFiles() const { return missingFiles_; }
  const std::vector<std::string>& missingTensors() const { return missingTensors_; }
  const TensorInfo* find(std::string_view name) const;
  /// The tensor, or an Error naming the folder and tensor.
  const TensorInfo& at(std::string_view name) const;
  std::vector<std::string_view> names() const;
  uint64_t bytes() const;      // of all files
  int64_t parameters() const;  // elements of all float tensors, block scales left out

  /// A 2-D tensor as a linear map [out, in] (isInByOut: stored [in, out]); float8 finds its "<name>_scale_inv" scales with
  /// the given block size. Throws Error on absent tensor, other rank, non-float dtype, or shape other than expected (-1: any).
  WeightView matrix(std::string_view name, int64_t outputs = -1, int64_t inputs = -1, bool isInByOut = false, int64_t blockRows = 128,
                    int64_t blockCols = 128) const;
  /// A 1-D float tensor decoded. Throws Error on absence or a length other than expected (-1: any).
  std::vector<float> vector(std::string_view name, int64_t length = -1) const;

 private:
  Checkpoint() = default;
  std::filesystem::path folder_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string_view, const TensorInfo*, std::less<>> index_;
  std::vector<std::string> missingFiles_, missingTensors_;
};

}  // namespace headscope::core
