#include "core/model/families/common.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/printable.h"

namespace headscope::core {

void fillLayers(ModelSpec& spec, int64_t intermediate, double attentionScale) {
  LayerSpec layer;
  layer.intermediate = intermediate;
  layer.attentionScale = attentionScale;
  spec.layer.assign(static_cast<size_t>(spec.layers), layer);
}

bool isTiedByConfig(const ConfigReader& config, bool fallback) {
  if (config.has("tie_word_embeddings")) return config.flag("tie_word_embeddings", fallback);
  return config.outermost().flag("tie_word_embeddings", fallback);
}

void readQuantisation(ModelSpec& spec, const ConfigReader& config) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    for (const ConfigReader& level : {config, config.outermost()}) {
      if (!level.isTruthy(key)) continue;
      const ConfigReader quantisation = level.object(key);
      const std::string method = quantisation.text("quant_method", "unknown");
      const std::string format = quantisation.text("fmt", "e4m3");
      const std::vector<int64_t> block = quantisation.integers("weight_block_size");
      const bool isBlocks = method == "fp8" && (format == "e4m3" || format == "float8_e4m3fn") && block.size() == 2;
      if (!isBlocks) {
        throw quantisation.fault("quant_method", "\"" + printable(method, 60) + "\" quantisation is not supported",
                                 "float8 (e4m3) with block scales is; else open a folder in bfloat16 or float32");
      }
      constexpr int64_t kLargest = 1 << 20;
      if (block[0] < 1 || block[1] < 1 || block[0] > kLargest || block[1] > kLargest) {
        throw quantisation.fault("weight_block_size", "must be two sizes from 1 to " + std::to_string(kLargest));
      }
      spec.storage.blockRows = block[0];
      spec.storage.blockCols = block[1];
    }
  }
}

void completeLanguageHead(ModelSpec& spec, const RoleReader& reader, std::string_view headModule) {
  const auto names = [&](std::string_view part) {
    return std::any_of(spec.architectures.begin(), spec.architectures.end(),
                       [&](const std::string& a) { return a.find(part) != std::string::npos; });
  };
  for (const char* task : {"ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "RewardModel"}) {
    if (!names(task)) continue;
    spec.head = HeadKind::None;
    spec.notes.push_back("the task head of " + printable(spec.architectures.front(), 80) +
                         " is set aside: maps don't need it, and there are no logits");
    return;
  }
  const bool isPromised = names("ForCausalLM") || names("LMHead") || names("ForConditionalGeneration") || names("DoubleHeads");
  const bool isThere = reader.hasTop(std::string(headModule) + ".weight");
  if (!spec.isTied && !isThere && !isPromised) {
    spec.head = HeadKind::None;
    spec.notes.push_back("the folder has no " + std::string(headModule) + ".weight: there are no logits");
  }
}

std::string layerName(std::string_view stem, int64_t layer) { return std::string(stem) + std::to_string(layer) + "."; }

void refuseIfOn(const ConfigReader& config, std::initializer_list<std::string_view> keys, const std::string& why) {
  for (const std::string_view key : keys) {
    if (config.isTruthy(key)) throw config.unsupported(key, why);
  }
}

bool windowsFromLayerTypes(ModelSpec& spec, const ConfigReader& config, int64_t window) {
  if (!config.has("layer_types")) return false;
  const std::vector<std::string> types = config.texts("layer_types");
  if (static_cast<int64_t>(types.size()) < spec.layers) {
    throw config.fault("layer_types", "has " + std::to_string(types.size()) + " entries for " + std::to_string(spec.layers) + " layers");
  }
  for (int64_t l = 0; l < spec.layers; ++l) {
    const std::string& type = types[static_cast<size_t>(l)];
    if (type == "sliding_attention") {
      if (window <= 0) throw config.fault("sliding_window", "is off, but layer_types has sliding layers");
      spec.layer[static_cast<size_t>(l)].window = window;
    } else if (type != "full_attention") {
      throw config.fault("layer_types", "\"" + printable(type, 60) + "\" is not supported");
    }
  }
  return true;
}

}  // namespace headscope::core
