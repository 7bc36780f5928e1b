#pragma once
// What tests of core/weights share: golden models that this build opens, golden tensors in double, differences.
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "tests/support/golden.h"

namespace headscope::tests {

/// Folder names below golden/models that hold `file`.
std::vector<std::string> goldenModels(const std::string& file);
std::shared_ptr<const core::Model> goldenModel(const std::string& name);

struct GoldenTensor {
  std::vector<int64_t> shape;
  std::vector<double> values;
};
using GoldenTensors = std::map<std::string, GoldenTensor>;
GoldenTensors goldenTensors(const std::filesystem::path& file);

}  // namespace headscope::tests
