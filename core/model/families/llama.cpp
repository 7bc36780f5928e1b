// Llama 2, 3, 3.1 and whatever keeps their config: grouped queries, SwiGLU, RMS norms, rotate-half positions with scalings.
#include <array>

#include "core/model/families/decoder.h"
#include "core/model/rope.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"llama"};

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(config, {});
  spec.rope = ropeFromConfig(config, {.headDims = spec.headWidth, .context = spec.context});
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = config.flag("attention_bias", false);
  spec.storage.hasMlpBias = config.flag("mlp_bias", false);
  return spec;
}

}  // namespace

const Family kLlamaFamily = {"Llama",         kTypes,           kDecoderPrefixes,     "layers.",        "lm_head.",  specOf,
                             decoderComplete, decoderEmbedding, decoderAttentionNorm, decoderAttention, decoderRest, decoderHead,
                             decoderIsIgnored};

}  // namespace headscope::core
