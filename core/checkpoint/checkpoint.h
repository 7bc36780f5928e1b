#pragma once
// Checkpoint: a folder of safetensors files (one, or shards with an index), mapped and never copied whole.
//
// Opening reads and checks headers only: names, shapes, dtypes, offsets; tensors are decoded when asked for. Everything in
// the files is hostile until checked, and errors name file, tensor and offset. Thread-safe once open.
// Cost of opening: about 5 microseconds and 200 bytes a tensor.
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/checkpoint/safetensors_file.h"
#include "core/checkpoint/weight_view.h"
#include "core/tensor/dtype.h"

namespace headscope::core {

/// What a caller of Checkpoint::matrix expects of the tensor.
struct MatrixShape {
  int64_t outputs = -1, inputs = -1;         // -1: any
  bool isInByOut = false;                    // stored [in, out]
  int64_t blockRows = 128, blockCols = 128;  // of float8 block scales
};

class Checkpoint {
 public:
  /// Opens FOLDER/STEM.safetensors (default: model; adapters: adapter_model); or the shards named by STEM.safetensors.index.json;
  /// or, without an index, shards named STEM-00001-of-00163.safetensors. Throws Error when none is there or any is
  /// broken, and when the index names a file outside the folder. A file may be a link to a regular file elsewhere, as in
  /// Hugging Face's cache. Shards that the index names but the folder lacks are listed in missingFiles() and their tensors,
  /// with those that a shard should have and lacks, in missingTensors(): weight views can still open whole layers.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& folder, const std::string& stem = "model");

  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const { return files_; }
  const std::vector<std::string>& missingFiles() const { return missingFiles_; }
  const std::vector<std::string>& missingTensors() const { return missingTensors_; }
  const TensorInfo* find(std::string_view name) const;
  /// The tensor, or an Error naming the folder and tensor (and the shard that should hold it, when that is missing).
  const TensorInfo& at(std::string_view name) const;
  /// All tensors, sorted by name.
  const std::vector<const TensorInfo*>& tensors() const { return tensors_; }
  std::vector<std::string_view> names() const;
  /// Throws Error naming a file that was found cut short since it was opened (MappedFile): its tensors may be zeros.
  void requireWhole() const;
  /// True when a tensor, present or only listed in the index, has a name that starts so.
  bool hasPrefix(std::string_view prefix) const;
  uint64_t bytes() const;  // of all files
  /// Elements of all float tensors, block scales left out.
  int64_t parameters() const;
  /// Where a tensor lies, for errors: "FILE, tensor NAME".
  std::string whereIs(const TensorInfo& tensor) const;

  /// A tensor as a linear map [out, in]: everything after the first dimension is one (a convolution's [out, channels, h, w] is
  /// [out, channels*h*w]), and [1, out, in] is [out, in]. Float8 finds its "<name>_scale_inv"
  /// scales. Throws Error on absent tensor, rank below 2, non-float dtype, shape other than expected (both named), or scales
  /// that don't fit.
  WeightView matrix(std::string_view name, const MatrixShape& shape = {}) const;
  /// A float tensor decoded flat. Throws Error on absence or a length other than expected (-1: any).
  std::vector<float> vector(std::string_view name, int64_t length = -1) const;

 private:
  Checkpoint() = default;
  void openSingle(const std::filesystem::path& path);
  void openIndexed(const std::filesystem::path& index);
  void openNumbered(const std::vector<std::filesystem::path>& shards);
  void gather(const std::vector<std::pair<std::string, size_t>>& placed);
  void attachScales(WeightView& view, const TensorInfo& tensor, const MatrixShape& shape) const;

  std::filesystem::path folder_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::vector<const TensorInfo*> tensors_;                  // sorted by name
  std::vector<std::string> missingFiles_, missingTensors_;  // sorted
};

}  // namespace headscope::core
