// Mistral: Llama's layout without biases, and a sliding window in every layer unless the config turns it off.
#include <algorithm>
#include <array>

#include "core/model/families/decoder.h"
#include "core/model/rope.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"mistral"};

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(config, {.intermediate = 14336, .kvHeads = 8, .context = 4096 * 32});
  spec.rope = ropeFromConfig(config, {.headDims = spec.headWidth, .context = spec.context});
  const int64_t window = config.isNull("sliding_window") ? 0 : config.size("sliding_window", 4096, kLongestContext);
  if (config.has("layer_types")) {
    // The family has one window for all layers; a file that alternates belongs to another one.
    const std::vector<std::string> types = config.texts("layer_types");
    const bool isUniform = std::all_of(types.begin(), types.end(),
                                       [&](const std::string& t) { return t == (window > 0 ? "sliding_attention" : "full_attention"); });
    if (!isUniform) throw config.unsupported("layer_types", "Mistral's layers all have the same window");
  }
  for (LayerSpec& layer : spec.layer) layer.window = window;
  return spec;
}

}  // namespace

const Family kMistralFamily = {"Mistral",       kTypes,           kDecoderPrefixes,     "layers.",        "lm_head.",  specOf,
                               decoderComplete, decoderEmbedding, decoderAttentionNorm, decoderAttention, decoderRest, decoderHead,
                               decoderIsIgnored};

}  // namespace headscope::core
