#include "core/model/adapter_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/printable.h"
#include "core/model/config_reader.h"

namespace headscope::core {
namespace {

using nlohmann::json;

constexpr int64_t kHighestRank = 1 << 16;
constexpr size_t kMostPatterns = 4096;

// Keys that say nothing about what the adapter computes, or that are read below.
constexpr std::array<std::string_view, 34> kKnown = {"peft_type",
                                                     "peft_version",
                                                     "auto_mapping",
                                                     "base_model_name_or_path",
                                                     "revision",
                                                     "inference_mode",
                                                     "task_type",
                                                     "r",
                                                     "lora_alpha",
                                                     "lora_dropout",
                                                     "fan_in_fan_out",
                                                     "bias",
                                                     "use_rslora",
                                                     "use_dora",
                                                     "modules_to_save",
                                                     "init_lora_weights",
                                                     "layers_to_transform",
                                                     "layers_pattern",
                                                     "rank_pattern",
                                                     "alpha_pattern",
                                                     "target_modules",
                                                     "exclude_modules",
                                                     "loftq_config",
                                                     "eva_config",
                                                     "corda_config",
                                                     "lora_ga_config",
                                                     "runtime_config",
                                                     "lora_bias",
                                                     "megatron_core",
                                                     "qalora_group_size",
                                                     "ensure_weight_tying",
                                                     "velora_config",
                                                     "lora_module_names",
                                                     "megatron_config"};

bool isEndOf(std::string_view module, std::string_view end) {
  return module == end || (module.size() > end.size() && module.ends_with(end) && module[module.size() - end.size() - 1] == '.');
}

/// A list of names, one name, or null.
std::vector<std::string> namesOf(const ConfigReader& config, std::string_view key) {
  if (!config.has(key)) return {};
  if (config.raw().find(key)->is_string()) return {config.text(key, "")};
  return config.texts(key);
}

bool isText(const ConfigReader& config, std::string_view key) { return config.has(key) && config.raw().find(key)->is_string(); }

std::string fieldOf(const ConfigReader& config, std::string_view key) { return config.where() + ", field \"" + std::string(key) + "\""; }

/// The pattern object's pairs in the order of the file, which decides between several that match.
template <typename T>
std::vector<std::pair<Pattern, T>> patternsOf(const nlohmann::ordered_json& ordered, const ConfigReader& config, const char* key) {
  std::vector<std::pair<Pattern, T>> patterns;
  if (!config.isTruthy(key)) return patterns;
  const ConfigReader object = config.object(key);
  if (object.raw().size() > kMostPatterns) throw config.fault(key, "has more than " + std::to_string(kMostPatterns) + " entries");
  for (const auto& [name, value] : ordered[key].items()) {
    if constexpr (std::is_same_v<T, int64_t>) {
      patterns.emplace_back(Pattern("(.*\\.)?(" + name + ")", fieldOf(config, key)), object.integer(name, 0, 1, kHighestRank));
    } else {
      patterns.emplace_back(Pattern("(.*\\.)?(" + name + ")", fieldOf(config, key)), object.number(name, 0.0));
    }
  }
  return patterns;
}

void refuseOtherKinds(const ConfigReader& config) {
  const std::string kind = config.text("peft_type", "LORA");
  if (kind != "LORA") throw config.fault("peft_type", "\"" + printable(kind, 60) + "\" is not supported", "LoRA and DoRA adapters are");
  if (config.has("init_lora_weights") && isText(config, "init_lora_weights")) {
    const std::string start = config.text("init_lora_weights", "");
    if (start != "gaussian" && start != "eva" && start != "orthogonal") {
      throw config.fault("init_lora_weights", "\"" + printable(start, 60) + "\" is not supported: this start changes the base weights",
                         "convert the adapter to plain LoRA with PEFT when saving it");
    }
  }
  for (const auto& [key, value] : config.raw().items()) {
    const bool isKnown = std::find(kKnown.begin(), kKnown.end(), std::string_view(key)) != kKnown.end();
    const bool isUsed = key == "velora_config" || key == "megatron_config" ? !value.is_null() : !isKnown && config.isTruthy(key);
    if (isUsed) throw config.unsupported(printable(key, 60), "it may change what the adapter computes");
  }
  const std::string bias = config.text("bias", "none");
  if (bias != "none" && bias != "all" && bias != "lora_only") throw config.unsupported("bias");
}

void readTargets(AdapterConfig& adapter, const ConfigReader& config) {
  if (isText(config, "target_modules")) {
    const std::string expression = config.text("target_modules", "");
    if (expression == "all-linear") {
      adapter.isAllLinear = true;
    } else {
      adapter.targetPattern.emplace(expression, fieldOf(config, "target_modules"));
    }
  } else {
    adapter.targets = config.texts("target_modules");
  }
  if (isText(config, "exclude_modules")) {
    adapter.excludedPattern.emplace(config.text("exclude_modules", ""), fieldOf(config, "exclude_modules"));
  } else {
    adapter.excluded = config.texts("exclude_modules");
  }
  adapter.savedNames = namesOf(config, "modules_to_save");
  adapter.layers = config.integers("layers_to_transform");
  const std::vector<std::string> layerNames = namesOf(config, "layers_pattern");
  if (adapter.savedNames.size() > kMostPatterns || layerNames.size() > kMostPatterns)
    throw config.fault("layers_pattern", "has too many entries");
  for (const std::string& name : adapter.savedNames) {
    adapter.saved.emplace_back("(^|.*\\.)(?:" + name + ")($|\\..*)", fieldOf(config, "modules_to_save"));
  }
  for (const std::string& name : layerNames) {
    adapter.layerPatterns.emplace_back("(?:^|.*\\.)(?:" + name + ")\\.\\d+", fieldOf(config, "layers_pattern"));
  }
}

/// The number that PEFT takes for the layer's: the first all-digit part with a part before it and one after ("model.layers.3.mlp"),
/// whose part before is preceded by a dot; with patterns, the first whose part before ends as a pattern says. -1 when none.
int64_t layerOf(const std::string& module, const std::vector<Pattern>& patterns) {
  for (size_t dot = module.find('.'); dot != std::string::npos; dot = module.find('.', dot + 1)) {
    const size_t end = module.find('.', dot + 1);
    if (end == std::string::npos) return -1;
    const std::string_view digits = std::string_view(module).substr(dot + 1, end - dot - 1);
    int64_t number = -1;
    const auto [last, code] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (code != std::errc() || last != digits.data() + digits.size() || number < 0) continue;
    if (patterns.empty()) {
      if (module.rfind('.', dot - 1) == std::string::npos || dot == 0) continue;
      return number;
    }
    const std::string_view head = std::string_view(module).substr(0, end);
    if (std::any_of(patterns.begin(), patterns.end(), [&](const Pattern& p) { return p.matchesWhole(head); })) return number;
  }
  return -1;
}

}  // namespace

bool AdapterConfig::isTarget(const std::string& module) const {
  const auto endsIn = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return isEndOf(module, name); });
  };
  if (excludedPattern && excludedPattern->matchesWhole(module)) return false;
  if (endsIn(excluded)) return false;
  if (std::any_of(saved.begin(), saved.end(), [&](const Pattern& p) { return p.matchesWhole(module); })) return false;
  if (targetPattern) return targetPattern->matchesWhole(module);
  if (!isAllLinear && !endsIn(targets)) return false;
  const bool isNamedWhole = std::find(targets.begin(), targets.end(), module) != targets.end();
  if (layers.empty() || isNamedWhole) return true;
  const int64_t layer = layerOf(module, layerPatterns);
  return layer >= 0 && std::find(layers.begin(), layers.end(), layer) != layers.end();
}

int64_t AdapterConfig::rankOf(const std::string& module) const {
  for (const auto& [pattern, value] : rankPatterns) {
    if (pattern.matchesWhole(module)) return value;
  }
  return rank;
}

double AdapterConfig::scaleOf(const std::string& module) const {
  double scale = alpha;
  for (const auto& [pattern, value] : alphaPatterns) {
    if (!pattern.matchesWhole(module)) continue;
    scale = value;
    break;
  }
  const auto r = static_cast<double>(rankOf(module));
  return scale / (isRankStabilised ? std::sqrt(r) : r);
}

AdapterConfig parseAdapterConfig(const std::string& text, const std::string& where) {
  const json whole = parseJsonBounded(text, where);
  const ConfigReader config(whole, where);
  refuseOtherKinds(config);
  AdapterConfig adapter;
  adapter.rank = config.size("r", 8, kHighestRank);
  adapter.alpha = config.number("lora_alpha", 8.0);
  adapter.isRankStabilised = config.flag("use_rslora", false);
  adapter.hasMagnitudes = config.flag("use_dora", false);
  adapter.baseModel = config.text("base_model_name_or_path", "");
  adapter.taskType = config.text("task_type", "");
  readTargets(adapter, config);
  const auto ordered = nlohmann::ordered_json::parse(text);
  adapter.rankPatterns = patternsOf<int64_t>(ordered, config, "rank_pattern");
  adapter.alphaPatterns = patternsOf<double>(ordered, config, "alpha_pattern");
  return adapter;
}

}  // namespace headscope::core
