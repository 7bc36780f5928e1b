#include "core/model/adapter.h"

#include <array>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/printable.h"

namespace headscope::core {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kLongestConfig = 16u << 20;

/// Cuts every occurrence of a name part that PEFT's wrappers put between a module and its tensors.
std::string without(std::string name, std::string_view part) {
  for (size_t at = name.find(part); at != std::string::npos; at = name.find(part, at)) name.erase(at, part.size());
  return name;
}

bool cutEnd(std::string& name, std::string_view end) {
  if (!name.ends_with(end)) return false;
  name.resize(name.size() - end.size());
  return true;
}

}  // namespace

std::shared_ptr<const Adapter> Adapter::open(const fs::path& folder) {
  std::error_code code;
  if (!fs::is_directory(folder, code)) throw Error("not a folder", folder.string(), "give the folder that holds adapter_config.json");
  const fs::path config = folder / "adapter_config.json";
  if (!fs::exists(config, code)) throw Error("no adapter_config.json in the folder", folder.string(), "a PEFT adapter has one");
  std::shared_ptr<Adapter> adapter(new Adapter());
  adapter->config_ = parseAdapterConfig(readTextFile(config, kLongestConfig), config.string());
  adapter->checkpoint_ = Checkpoint::open(folder, "adapter_model");
  adapter->sortTensors();
  return adapter;
}

std::string Adapter::name() const {
  const fs::path whole = fs::absolute(folder()).lexically_normal();
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

/// Puts every tensor where its name's end says: factors of a module, or kept whole.
void Adapter::sortTensors() {
  std::map<std::string, AdapterFactors> byPath;
  const auto place = [&](const TensorInfo* tensor, const TensorInfo* AdapterFactors::*role, const std::string& path) {
    AdapterFactors& factors = byPath[path];
    factors.path = path;
    if (factors.*role != nullptr) throw Error("two tensors play this part", checkpoint_->whereIs(*tensor));
    factors.*role = tensor;
  };
  for (const TensorInfo* tensor : checkpoint_->tensors()) {
    std::string name = tensor->name;
    if (name.starts_with("base_model.model.")) name.erase(0, std::string_view("base_model.model.").size());
    name = without(without(without(name, ".modules_to_save"), ".default"), ".base_layer");
    if (name.find(".lora_embedding_") != std::string::npos) {
      throw Error("LoRA of an embedding is not supported", checkpoint_->whereIs(*tensor));
    }
    if (cutEnd(name, ".lora_A.weight")) {
      place(tensor, &AdapterFactors::down, name);
    } else if (cutEnd(name, ".lora_B.weight")) {
      place(tensor, &AdapterFactors::up, name);
    } else if (cutEnd(name, ".lora_B.bias")) {
      place(tensor, &AdapterFactors::upBias, name);
    } else if (cutEnd(name, ".lora_magnitude_vector") || cutEnd(name, ".lora_magnitude_vector.weight")) {
      place(tensor, &AdapterFactors::magnitude, name);
    } else if (name.find(".lora_") != std::string::npos) {
      throw Error("this kind of adapter tensor is not known", checkpoint_->whereIs(*tensor));
    } else if (!saved_.emplace(name, tensor).second) {
      throw Error("two tensors play this part", checkpoint_->whereIs(*tensor));
    }
  }
  for (auto& [path, factors] : byPath) {
    const std::string at = folder().string() + ", module " + printable(path);
    if (factors.down == nullptr) throw Error("half an adapter: lora_A.weight is missing", at);
    if (factors.up == nullptr) throw Error("half an adapter: lora_B.weight is missing", at);
    if (config_.hasMagnitudes && factors.magnitude == nullptr)
      throw Error("half an adapter: use_dora is on, but lora_magnitude_vector is missing", at);
    if (!config_.hasMagnitudes && factors.magnitude != nullptr)
      throw Error("the file has a lora_magnitude_vector, but use_dora is off", at);
    if (config_.hasMagnitudes && factors.upBias != nullptr) throw Error("DoRA with a bias of lora_B is not supported", at);
    factors_.push_back(factors);
  }
  if (factors_.empty() && saved_.empty()) throw Error("the adapter has no tensors", folder().string());
}

}  // namespace headscope::core
