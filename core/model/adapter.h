#pragma once
// Adapter: a PEFT folder (adapter_config.json and adapter_model.safetensors): low-rank factors for some linear maps, and whole
// tensors (biases, saved modules) in place of others. It knows no model yet; Model::withAdapter binds it to one.
//
// Immutable and thread-safe. Source: huggingface/peft, LoRA and DoRA.
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/checkpoint/checkpoint.h"
#include "core/model/adapter_config.h"

namespace headscope::core {

/// The stored factors of one module. `path` is PEFT's name of it without "base_model.model." ("model.layers.0.self_attn.q_proj").
struct AdapterFactors {
  std::string path;
  const TensorInfo* down = nullptr;       // lora_A [r, in]
  const TensorInfo* up = nullptr;         // lora_B [out, r]
  const TensorInfo* upBias = nullptr;     // [out] or null
  const TensorInfo* magnitude = nullptr;  // DoRA [out] or null
};

/// Squared lengths that DoRA needs of every output row, scale inside: of W, W . (s B A), s B A.
struct RowLengths {
  std::vector<double> base, cross, change;  // [out]
};

class Adapter {
 public:
  /// Throws Error: files missing or broken, settings not supported (named), factors without their other half.
  static std::shared_ptr<const Adapter> open(const std::filesystem::path& folder);

  const AdapterConfig& config() const { return config_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const std::filesystem::path& folder() const { return checkpoint_->folder(); }
  std::string name() const;  // the folder's name

  const std::vector<AdapterFactors>& factors() const { return factors_; }  // sorted by path
  /// Tensors kept whole, by PEFT's name ("model.norm.weight", "h.0.attn.c_attn.bias").
  const std::map<std::string, const TensorInfo*>& saved() const { return saved_; }

 private:
  friend class BoundAdapter;
  Adapter() = default;
  void sortTensors();

  AdapterConfig config_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::vector<AdapterFactors> factors_;
  std::map<std::string, const TensorInfo*> saved_;

  // DoRA's row lengths over the last base, kept so that a new strength costs nothing.
  mutable std::mutex lengthsMutex_;
  mutable std::weak_ptr<const Checkpoint> lengthsBase_;
  mutable std::map<std::string, std::shared_ptr<const RowLengths>> lengths_;
};

}  // namespace headscope::core
