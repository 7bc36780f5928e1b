#include "tests/core/weights/golden_weights.h"

#include <algorithm>
#include <cstring>

#include "core/checkpoint/safetensors_file.h"

namespace headscope::tests {
namespace fs = std::filesystem;

std::vector<std::string> goldenModels(const std::string& file) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(goldenFolder() / "models")) {
    if (fs::exists(entry.path() / file)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::shared_ptr<const core::Model> goldenModel(const std::string& name) { return core::Model::open(goldenFolder() / "models" / name); }

GoldenTensors goldenTensors(const fs::path& path) {
  GoldenTensors out;
  const auto file = core::SafetensorsFile::open(path);
  for (const core::TensorInfo& info : file->tensors()) {
    GoldenTensor t{info.shape, std::vector<double>(static_cast<size_t>(info.count()))};
    if (info.dtype == core::DType::F64) {
      std::memcpy(t.values.data(), info.data, t.values.size() * sizeof(double));
    } else {
      std::vector<float> narrow(t.values.size());
      core::decodeToFloat(info.dtype, info.data, info.count(), narrow.data());
      std::copy(narrow.begin(), narrow.end(), t.values.begin());
    }
    out[info.name] = std::move(t);
  }
  return out;
}

}  // namespace headscope::tests
