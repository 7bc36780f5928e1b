#pragma once
// Family: one row per model family: which config.json it reads and which tensors play which roles. Adding a family is one file
// with a row here and one line in family.cpp. Nothing outside this folder knows a family's name.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/model/config_reader.h"
#include "core/model/model.h"
#include "core/model/role_reader.h"

namespace headscope::core {

struct Family {
  std::string_view title;                        // for people
  std::span<const std::string_view> modelTypes;  // model_type of config.json
  std::span<const std::string_view> prefixes;    // of the backbone's tensors, in the order they are tried
  std::string_view stem;                         // how every layer's tensors begin, below the prefix ("layers.")
  std::string_view topStem;                      // how the head's begin, below the top prefix ("lm_head.")

  ModelSpec (*spec)(const ConfigReader& config);
  /// What only the tensors tell: whether there is a head, and of which kind.
  void (*complete)(ModelSpec& spec, const RoleReader& reader);

  EmbeddingWeights (*embedding)(RoleReader& reader);
  NormWeights (*attentionNorm)(RoleReader& reader, int64_t layer);
  AttentionWeights (*attention)(RoleReader& reader, int64_t layer);
  /// Everything of a layer but its attention and attentionNorm.
  void (*rest)(RoleReader& reader, int64_t layer, LayerWeights& weights);
  HeadWeightsOnTop (*head)(RoleReader& reader);
  /// Buffers and the like that files carry and no role needs ("h.0.attn.bias"); names are below the prefix.
  bool (*isIgnored)(std::string_view name);
  /// The files' name of a module that newer classes call otherwise, for adapters (default: the same).
  std::string (*moduleOf)(std::string_view name) = nullptr;
};

/// The family of a model_type, or null.
const Family* findFamily(std::string_view modelType);
/// "bert, deepseek_v2, ..." for messages.
std::string knownFamilies();

extern const Family kBertFamily, kDeepseekV2Family, kDeepseekV3Family, kGemma2Family, kGpt2Family, kGptNeoxFamily, kLlamaFamily,
    kMistralFamily, kQwen2Family, kQwen3Family, kVitFamily;

}  // namespace headscope::core
