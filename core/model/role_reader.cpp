#include "core/model/role_reader.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/printable.h"
#include "core/model/bound_adapter.h"

namespace headscope::core {
namespace {

/// A bias of the stored outputs, in the order of a view's.
std::vector<float> pickOutputs(const std::vector<float>& stored, const WeightView& view) {
  if (stored.empty()) return {};
  std::vector<float> picked(static_cast<size_t>(view.outputs()));
  for (int64_t r = 0; r < view.outputs(); ++r) picked[static_cast<size_t>(r)] = stored[static_cast<size_t>(view.storedOutput(r))];
  return picked;
}

}  // namespace

bool RoleReader::hasTop(std::string_view name) const {
  const std::string full = topPrefix_ + std::string(name);
  return checkpoint_.find(full) != nullptr ||
         std::binary_search(checkpoint_.missingTensors().begin(), checkpoint_.missingTensors().end(), full);
}

/// The tensor, marked as used; null and noted when it is not there.
const TensorInfo* RoleReader::need(const std::string& name) {
  const TensorInfo* tensor = checkpoint_.find(name);
  if (tensor == nullptr) {
    missing_.push_back(name);
  } else if (isSurvey_) {
    used_.push_back(tensor);
  }
  return tensor;
}

WeightView RoleReader::readMatrix(const std::string& prefix, const std::string& name, const LinearShape& shape) {
  const TensorInfo* tensor = need(prefix + name);
  if (tensor == nullptr) return {};
  if (sizeOf(tensor->dtype) == 1 && need(tensor->name + "_scale_inv") == nullptr) return {};
  const MatrixShape expected{shape.outputs, shape.inputs, shape.isInByOut, spec.storage.blockRows, spec.storage.blockCols};
  const WeightView stored = checkpoint_.matrix(tensor->name, expected);
  return adapter_ != nullptr ? adapter_->matrix(stored, name, expected) : stored;
}

std::vector<float> RoleReader::readVector(const std::string& prefix, const std::string& name, int64_t length) {
  const TensorInfo* tensor = need(prefix + name);
  if (tensor == nullptr) return {};
  if (!isSurvey_) {
    std::vector<float> values = checkpoint_.vector(tensor->name, length);
    if (adapter_ != nullptr) adapter_->blend(values, name);
    return values;
  }
  if (tensor->count() != length || !isFloat(tensor->dtype)) {
    throw Error("the tensor is " + std::string(nameOf(tensor->dtype)) + " of shape " + tensor->shapeText() +
                    ", but by config.json it should be floats, " + std::to_string(length) + " of them",
                checkpoint_.whereIs(*tensor));
  }
  return {};
}

NormWeights RoleReader::readNorm(const std::string& prefix, const std::string& module, int64_t width, bool hasBias) {
  const bool isOld = checkpoint_.find(prefix + module + ".weight") == nullptr && checkpoint_.find(prefix + module + ".gamma") != nullptr;
  NormWeights norm;
  norm.gain = readVector(prefix, module + (isOld ? ".gamma" : ".weight"), width);
  if (hasBias) norm.bias = readVector(prefix, module + (isOld ? ".beta" : ".bias"), width);
  if (spec.storage.isGainLessOne) {
    for (float& g : norm.gain) g += 1.0f;
  }
  return norm;
}

Linear RoleReader::assemble(const std::string& module, const WeightView& whole, std::vector<float> bias, const LinearShape& shape,
                            const View& view, bool isTop) {
  Linear linear;
  linear.module = (isTop ? topPrefix_ : prefix_) + module;
  if (isSurvey_) modules_.push_back({module, shape, isTop});
  if (whole.empty()) return linear;
  linear.weight = view ? view(whole) : whole;
  linear.bias = pickOutputs(bias, linear.weight);
  if (adapter_ != nullptr && !isSurvey_) adapter_->apply(linear, module, whole);
  return linear;
}

WeightView RoleReader::matrix(const std::string& name, int64_t outputs, int64_t inputs) {
  return readMatrix(prefix_, name, {outputs, inputs});
}

std::vector<float> RoleReader::vector(const std::string& name, int64_t length) { return readVector(prefix_, name, length); }

NormWeights RoleReader::norm(const std::string& module, int64_t width, bool hasBias) { return readNorm(prefix_, module, width, hasBias); }

Linear RoleReader::linear(const std::string& module, const LinearShape& shape, const View& view) {
  const WeightView whole = readMatrix(prefix_, module + ".weight", shape);
  std::vector<float> bias;
  if (shape.hasBias) bias = readVector(prefix_, module + ".bias", shape.outputs);
  return assemble(module, whole, std::move(bias), shape, view, false);
}

NormWeights RoleReader::topNorm(const std::string& module, int64_t width, bool hasBias) {
  return readNorm(topPrefix_, module, width, hasBias);
}

Linear RoleReader::topLinear(const std::string& module, const LinearShape& shape) {
  const WeightView whole = readMatrix(topPrefix_, module + ".weight", shape);
  std::vector<float> bias;
  if (shape.hasBias) bias = readVector(topPrefix_, module + ".bias", shape.outputs);
  return assemble(module, whole, std::move(bias), shape, {}, true);
}

std::vector<float> RoleReader::topVector(const std::string& name, int64_t length) { return readVector(topPrefix_, name, length); }

Linear RoleReader::tiedTop(const std::string& module, const std::string& weightName, const LinearShape& shape,
                           const std::string& biasName) {
  WeightView whole = readMatrix(prefix_, weightName, shape);
  // An adapter that saved the embedding leaves the unembedding as it was, and the other way round.
  if (adapter_ != nullptr && !whole.empty()) {
    const MatrixShape expected{shape.outputs, shape.inputs, shape.isInByOut};
    whole = adapter_->matrix(checkpoint_.matrix(prefix_ + weightName, expected), module + ".weight", expected);
  }
  std::vector<float> bias;
  if (!biasName.empty()) bias = readVector(topPrefix_, biasName, shape.outputs);
  return assemble(module, whole, std::move(bias), shape, {}, true);
}

const TensorInfo* RoleReader::roleTensor(const std::string& name) const {
  for (const std::string& prefix : {prefix_, topPrefix_}) {
    const TensorInfo* tensor = checkpoint_.find(prefix + name);
    if (tensor != nullptr && std::find(used_.begin(), used_.end(), tensor) != used_.end()) return tensor;
  }
  return nullptr;
}

bool RoleReader::isLeftOver(const std::string& path) const {
  for (const std::string& prefix : {std::string(), prefix_, topPrefix_}) {
    for (const char* leaf : {"", ".weight", ".bias"}) {
      const TensorInfo* tensor = checkpoint_.find(prefix + path + leaf);
      if (tensor != nullptr && std::find(used_.begin(), used_.end(), tensor) == used_.end()) return true;
    }
  }
  return false;
}

void RoleReader::throwIfMissing(const std::string& what) const {
  if (missing_.empty()) return;
  constexpr size_t kListed = 12;
  std::string list;
  for (size_t i = 0; i < std::min(kListed, missing_.size()); ++i) list += (i > 0 ? ", " : "") + printable(missing_[i]);
  if (missing_.size() > kListed) list += " and " + std::to_string(missing_.size() - kListed) + " more";
  std::string hint;
  if (!checkpoint_.missingFiles().empty()) {
    hint = "these files are missing: " + checkpoint_.missingFiles().front() +
           (checkpoint_.missingFiles().size() > 1 ? " and " + std::to_string(checkpoint_.missingFiles().size() - 1) + " more" : "");
  }
  throw Error(what + " lacks " + std::to_string(missing_.size()) + " tensor" + (missing_.size() > 1 ? "s" : "") + ": " + list,
              checkpoint_.folder().string(), hint);
}

}  // namespace headscope::core
