#include "core/checkpoint/checkpoint.h"

#include <algorithm>
#include <regex>

#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/checkpoint/shard_index.h"

namespace headscope::core {
namespace fs = std::filesystem;
namespace {

bool isThere(const fs::path& path) {
  std::error_code code;
  return fs::exists(path, code);
}

bool beforeByName(const TensorInfo* tensor, std::string_view name) { return tensor->name < name; }

/// Files in the folder that are named like shards, and how many their names say there are ("of-00163"); 0 when they disagree.
struct NumberedShards {
  std::vector<fs::path> paths;
  int64_t claimed = 0;
};

NumberedShards numberedShards(const fs::path& folder, const std::string& stem) {
  const std::regex pattern(stem + R"(-(\d{5,6})-of-(\d{5,6})\.safetensors)");
  NumberedShards found;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    std::smatch match;
    if (!std::regex_match(name, match, pattern)) continue;
    found.paths.push_back(entry.path());
    found.claimed = std::stoll(match[2]);
  }
  std::sort(found.paths.begin(), found.paths.end());
  return found;
}

[[noreturn]] void throwNothingToOpen(const fs::path& folder, const std::string& stem) {
  for (const char* other :
       {"pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin", "tf_model.h5", "flax_model.msgpack"}) {
    if (isThere(folder / other)) {
      throw Error(std::string("the folder has ") + other + ", but no safetensors file", folder.string(),
                  "convert it with transformers: model.save_pretrained(folder, safe_serialization=True)");
    }
  }
  if (isThere(folder / "consolidated.safetensors")) {
    throw Error("consolidated.safetensors uses the original names, not Hugging Face's", folder.string(),
                "open the folder in Hugging Face's format");
  }
  throw Error("no " + stem + ".safetensors or " + stem + ".safetensors.index.json in the folder", folder.string());
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const fs::path& folder, const std::string& stem) {
  std::error_code code;
  if (!fs::exists(folder, code)) throw Error("no such folder", folder.string());
  if (!fs::is_directory(folder, code)) throw Error("not a folder", folder.string(), "give the folder that holds config.json");
  std::shared_ptr<Checkpoint> opened(new Checkpoint());
  opened->folder_ = folder;
  if (isThere(folder / (stem + ".safetensors"))) {
    opened->openSingle(folder / (stem + ".safetensors"));
  } else if (isThere(folder / (stem + ".safetensors.index.json"))) {
    opened->openIndexed(folder / (stem + ".safetensors.index.json"));
  } else if (const NumberedShards shards = numberedShards(folder, stem); !shards.paths.empty()) {
    opened->openNumbered(shards.paths);
    const int64_t absent = shards.claimed - static_cast<int64_t>(shards.paths.size());
    if (absent > 0) opened->missingFiles_.push_back(std::to_string(absent) + " of " + std::to_string(shards.claimed) + " shards");
  } else {
    throwNothingToOpen(folder, stem);
  }
  return opened;
}

void Checkpoint::openSingle(const fs::path& path) {
  files_.push_back(SafetensorsFile::open(path, 0));
  gather({});
}

void Checkpoint::openNumbered(const std::vector<fs::path>& shards) {
  for (const fs::path& path : shards) files_.push_back(SafetensorsFile::open(path, files_.size()));
  gather({});
}

void Checkpoint::openIndexed(const fs::path& path) {
  const ShardIndex index = readShardIndex(path);
  std::vector<size_t> fileOf(index.files.size(), SIZE_MAX);
  for (size_t i = 0; i < index.files.size(); ++i) {
    const fs::path shard = folder_ / index.files[i];
    if (isThere(shard)) {
      fileOf[i] = files_.size();
      files_.push_back(SafetensorsFile::open(shard, files_.size()));
    } else {
      missingFiles_.push_back(index.files[i]);
    }
  }
  std::sort(missingFiles_.begin(), missingFiles_.end());
  std::vector<std::pair<std::string, size_t>> placed;
  placed.reserve(index.tensors.size());
  for (const auto& [name, file] : index.tensors) placed.emplace_back(name, fileOf[file]);
  gather(placed);
}

/// Collects all files' tensors under their names; `placed` is where the index puts them, sorted by name.
void Checkpoint::gather(const std::vector<std::pair<std::string, size_t>>& placed) {
  const auto placeOf = [&](const std::string& name) -> size_t {
    const auto at = std::lower_bound(placed.begin(), placed.end(), name, [](const auto& p, const std::string& n) { return p.first < n; });
    return at != placed.end() && at->first == name ? at->second : SIZE_MAX;
  };
  for (const auto& file : files_) {
    for (const TensorInfo& tensor : file->tensors()) tensors_.push_back(&tensor);
  }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->name != b->name ? a->name < b->name : a->file < b->file; });
  // The same name in several files: the index decides; without its word the folder is ambiguous.
  std::vector<const TensorInfo*> unique;
  unique.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size();) {
    size_t end = i + 1;
    while (end < tensors_.size() && tensors_[end]->name == tensors_[i]->name) ++end;
    const TensorInfo* chosen = tensors_[i];
    if (end - i > 1) {
      const size_t place = placeOf(chosen->name);
      const auto at = std::find_if(tensors_.begin() + static_cast<long>(i), tensors_.begin() + static_cast<long>(end),
                                   [&](const TensorInfo* t) { return t->file == place; });
      if (at == tensors_.begin() + static_cast<long>(end)) {
        throw Error("the tensor is in both " + files_[chosen->file]->path().filename().string() + " and " +
                        files_[tensors_[i + 1]->file]->path().filename().string(),
                    folder_.string() + ", tensor " + printable(chosen->name));
      }
      chosen = *at;
    }
    unique.push_back(chosen);
    i = end;
  }
  tensors_ = std::move(unique);
  for (const auto& [name, file] : placed) {
    if (find(name) == nullptr) missingTensors_.push_back(name);
  }
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), name, beforeByName);
  return at != tensors_.end() && (*at)->name == name ? *at : nullptr;
}

const TensorInfo& Checkpoint::at(std::string_view name) const {
  if (const TensorInfo* tensor = find(name)) return *tensor;
  const bool isListed = std::binary_search(missingTensors_.begin(), missingTensors_.end(), name);
  throw Error(isListed ? "the tensor is listed in the index, but its file is missing or lacks it" : "the tensor is missing",
              folder_.string() + ", tensor " + printable(name));
}

void Checkpoint::requireWhole() const {
  for (const auto& file : files_) file->requireWhole();
}

std::vector<std::string_view> Checkpoint::names() const {
  std::vector<std::string_view> all;
  all.reserve(tensors_.size());
  for (const TensorInfo* tensor : tensors_) all.push_back(tensor->name);
  return all;
}

bool Checkpoint::hasPrefix(std::string_view prefix) const {
  const auto present = std::lower_bound(tensors_.begin(), tensors_.end(), prefix, beforeByName);
  if (present != tensors_.end() && std::string_view((*present)->name).substr(0, prefix.size()) == prefix) return true;
  const auto listed = std::lower_bound(missingTensors_.begin(), missingTensors_.end(), prefix);
  return listed != missingTensors_.end() && std::string_view(*listed).substr(0, prefix.size()) == prefix;
}

uint64_t Checkpoint::bytes() const {
  uint64_t total = 0;
  for (const auto& file : files_) total += file->bytes();
  return total;
}

int64_t Checkpoint::parameters() const {
  int64_t total = 0;
  for (const TensorInfo* tensor : tensors_) {
    if (isFloat(tensor->dtype) && !std::string_view(tensor->name).ends_with("_scale_inv")) total += tensor->count();
  }
  return total;
}

std::string Checkpoint::whereIs(const TensorInfo& tensor) const {
  return files_[tensor.file]->path().string() + ", tensor " + printable(tensor.name);
}

WeightView Checkpoint::matrix(std::string_view name, const MatrixShape& shape) const {
  const TensorInfo& tensor = at(name);
  if (!isFloat(tensor.dtype)) {
    throw Error("the tensor is stored as " + std::string(nameOf(tensor.dtype)) + ", which is not a weight type read here", whereIs(tensor),
                "quantised weights other than float8 with block scales are not supported");
  }
  if (tensor.shape.size() < 2) throw Error("shape " + tensor.shapeText() + " is not a matrix", whereIs(tensor));
  WeightView view;
  view.data = tensor.data;
  view.dtype = tensor.dtype;
  const size_t first = tensor.shape.size() == 3 && tensor.shape[0] == 1 ? 1 : 0;  // a table kept as a batch of one
  view.storedRows = tensor.shape[first];
  view.storedCols = 1;
  for (size_t i = first + 1; i < tensor.shape.size(); ++i) view.storedCols *= tensor.shape[i];
  view.isInByOut = shape.isInByOut;
  view.name = tensor.name;
  const int64_t outputs = shape.isInByOut ? view.storedCols : view.storedRows;
  const int64_t inputs = shape.isInByOut ? view.storedRows : view.storedCols;
  if ((shape.outputs >= 0 && outputs != shape.outputs) || (shape.inputs >= 0 && inputs != shape.inputs)) {
    const auto text = [](int64_t n) { return n < 0 ? std::string("any") : std::to_string(n); };
    const int64_t rows = shape.isInByOut ? shape.inputs : shape.outputs, cols = shape.isInByOut ? shape.outputs : shape.inputs;
    throw Error("the tensor has shape " + tensor.shapeText() + ", but by config.json it should be [" + text(rows) + ", " + text(cols) + "]",
                whereIs(tensor));
  }
  view.outGroupSize = view.outGroupStride = outputs;
  view.inCount = inputs;
  attachScales(view, tensor, shape);
  return view;
}

void Checkpoint::attachScales(WeightView& view, const TensorInfo& tensor, const MatrixShape& shape) const {
  if (sizeOf(tensor.dtype) != 1) return;
  const TensorInfo* scales = find(tensor.name + "_scale_inv");
  if (scales == nullptr) {
    throw Error("float8 weights without block scales: " + printable(tensor.name + "_scale_inv") + " is missing", whereIs(tensor));
  }
  if (shape.blockRows <= 0 || shape.blockCols <= 0) throw Error("float8 block sizes must be positive", whereIs(tensor));
  const int64_t rows = (view.storedRows + shape.blockRows - 1) / shape.blockRows;
  const int64_t cols = (view.storedCols + shape.blockCols - 1) / shape.blockCols;
  if (!isFloat(scales->dtype) || scales->shape != std::vector<int64_t>{rows, cols}) {
    throw Error("block scales have shape " + scales->shapeText() + ", but blocks of " + std::to_string(shape.blockRows) + " x " +
                    std::to_string(shape.blockCols) + " over " + tensor.shapeText() + " need [" + std::to_string(rows) + ", " +
                    std::to_string(cols) + "]",
                whereIs(*scales));
  }
  view.scales = scales->data;
  view.scaleType = scales->dtype;
  view.scaleCols = cols;
  view.blockRows = shape.blockRows;
  view.blockCols = shape.blockCols;
}

std::vector<float> Checkpoint::vector(std::string_view name, int64_t length) const {
  const TensorInfo& tensor = at(name);
  if (!isFloat(tensor.dtype))
    throw Error("the tensor is stored as " + std::string(nameOf(tensor.dtype)) + ", not as floats", whereIs(tensor));
  if (length >= 0 && tensor.count() != length) {
    throw Error(
        "the tensor has shape " + tensor.shapeText() + ", but by config.json it should have " + std::to_string(length) + " elements",
        whereIs(tensor));
  }
  std::vector<float> values(static_cast<size_t>(tensor.count()));
  decodeToFloat(tensor.dtype, tensor.data, tensor.count(), values.data());
  return values;
}

}  // namespace headscope::core
