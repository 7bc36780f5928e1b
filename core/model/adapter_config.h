#pragma once
// AdapterConfig: what a PEFT adapter_config.json says, old files with fewer keys included. Which modules it targets, and with which
// rank and scale, by PEFT's own rules of matching names.
// Source: huggingface/peft, LoraConfig and check_target_module_exists.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/model/pattern.h"

namespace headscope::core {

struct AdapterConfig {
  int64_t rank = 8;
  double alpha = 8.0;
  bool isRankStabilised = false;  // alpha / sqrt(r) in place of alpha / r
  bool hasMagnitudes = false;     // DoRA
  std::string baseModel, taskType;

  std::vector<std::string> targets;      // whole names or their ends
  std::optional<Pattern> targetPattern;  // or an expression over whole names
  bool isAllLinear = false;              // or every linear map but the unembedding
  std::vector<std::string> excluded;
  std::optional<Pattern> excludedPattern;
  std::vector<Pattern> saved;  // modules_to_save, as patterns over names
  std::vector<std::string> savedNames;
  std::vector<int64_t> layers;                            // layers_to_transform; empty: all
  std::vector<Pattern> layerPatterns;                     // each with the layer's number as what it ends in
  std::vector<std::pair<Pattern, int64_t>> rankPatterns;  // the first that matches a module's name counts
  std::vector<std::pair<Pattern, double>> alphaPatterns;

  /// True when the adapter has factors for the module (PEFT's name of it, "model.layers.0.self_attn.q_proj").
  bool isTarget(const std::string& module) const;
  int64_t rankOf(const std::string& module) const;
  /// Factor on B A.
  double scaleOf(const std::string& module) const;
};

/// Throws Error naming the field: not JSON, wrong types, peft types other than LoRA, starts that change the base weights (PiSSA,
/// OLoRA, ...), and anything else that would compute something other than LoRA or DoRA.
AdapterConfig parseAdapterConfig(const std::string& text, const std::string& where);

}  // namespace headscope::core
