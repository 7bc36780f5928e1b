// Qwen 2 and 3: Llama's layout; Qwen 2 has biases on queries, keys and values, Qwen 3 an RMS norm of each query and key head. The
// upper layers slide where use_sliding_window is on.
#include <array>

#include "core/model/families/decoder.h"
#include "core/model/rope.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes2 = {"qwen2"}, kTypes3 = {"qwen3"};

void readWindows(ModelSpec& spec, const ConfigReader& config) {
  const bool isOn = config.flag("use_sliding_window", false) && !config.isNull("sliding_window");
  const int64_t window = isOn ? config.size("sliding_window", 4096, kLongestContext) : 0;
  if (windowsFromLayerTypes(spec, config, window)) return;
  const int64_t first = config.integer("max_window_layers", 28, 0, kMostEntries);
  for (int64_t l = first; l < spec.layers; ++l) spec.layer[static_cast<size_t>(l)].window = window;
}

ModelSpec specOf2(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(config, {.vocabulary = 151936, .intermediate = 22016, .kvHeads = 32, .context = 32768});
  spec.rope = ropeFromConfig(config, {.headDims = spec.headWidth, .context = spec.context});
  spec.storage.hasQkvBias = true;
  readWindows(spec, config);
  return spec;
}

ModelSpec specOf3(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(config, {.vocabulary = 151936, .intermediate = 22016, .kvHeads = 32, .headWidth = 128, .context = 32768});
  spec.rope = ropeFromConfig(config, {.headDims = spec.headWidth, .context = spec.context});
  spec.hasHeadNorms = true;
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = config.flag("attention_bias", false);
  readWindows(spec, config);
  return spec;
}

}  // namespace

const Family kQwen2Family = {"Qwen 2",        kTypes2,          kDecoderPrefixes,     "layers.",        "lm_head.",  specOf2,
                             decoderComplete, decoderEmbedding, decoderAttentionNorm, decoderAttention, decoderRest, decoderHead,
                             decoderIsIgnored};
const Family kQwen3Family = {"Qwen 3",        kTypes3,          kDecoderPrefixes,     "layers.",        "lm_head.",  specOf3,
                             decoderComplete, decoderEmbedding, decoderAttentionNorm, decoderAttention, decoderRest, decoderHead,
                             decoderIsIgnored};

}  // namespace headscope::core
