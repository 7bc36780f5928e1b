// Gemma 2: Llama's layout with four norms a layer whose gain is stored less one, soft caps on scores and logits, embeddings times
// sqrt(d), queries scaled by query_pre_attn_scalar, and every other layer (the first, the third, ...) sliding.
#include <array>
#include <cmath>

#include "core/model/families/decoder.h"
#include "core/model/rope.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"gemma2"};

double softcap(const ConfigReader& config, std::string_view key, double fallback) {
  if (config.isNull(key)) return 0.0;
  const double cap = config.number(key, fallback);
  if (cap < 0.0) throw config.fault(key, "must not be negative");
  return cap;
}

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(config, {.vocabulary = 256000,
                                        .width = 2304,
                                        .intermediate = 9216,
                                        .layers = 26,
                                        .heads = 8,
                                        .kvHeads = 4,
                                        .headWidth = 256,
                                        .context = 8192,
                                        .isTied = true,
                                        .activationKey = "hidden_activation",
                                        .activation = "gelu_pytorch_tanh"});
  refuseIfOn(config, {"use_bidirectional_attention"});
  spec.rope = ropeFromConfig(config, {.headDims = spec.headWidth, .context = spec.context});
  spec.normPlacement = NormPlacement::BeforeAndAfter;
  spec.storage.isGainLessOne = true;
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = config.flag("attention_bias", false);
  spec.embeddingScale = std::sqrt(static_cast<double>(spec.width));
  spec.attentionSoftcap = softcap(config, "attn_logit_softcapping", 50.0);
  spec.logitSoftcap = softcap(config, "final_logit_softcapping", 30.0);
  const double scale = 1.0 / std::sqrt(config.positive("query_pre_attn_scalar", 256.0));
  const int64_t window = config.isNull("sliding_window") ? 0 : config.size("sliding_window", 4096, kLongestContext);
  for (LayerSpec& layer : spec.layer) layer.attentionScale = scale;
  if (!windowsFromLayerTypes(spec, config, window)) {
    for (int64_t l = 0; l < spec.layers; l += 2) spec.layer[static_cast<size_t>(l)].window = window;
  }
  return spec;
}

void rest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const ModelSpec& spec = reader.spec;
  const std::string at = layerName("layers.", layer);
  weights.attentionPostNorm = reader.norm(at + "post_attention_layernorm", spec.width, false);
  weights.mlpNorm = reader.norm(at + "pre_feedforward_layernorm", spec.width, false);
  weights.mlpPostNorm = reader.norm(at + "post_feedforward_layernorm", spec.width, false);
  weights.mlp = decoderMlp(reader, at + "mlp.", spec.layer[static_cast<size_t>(layer)].intermediate, false);
}

}  // namespace

const Family kGemma2Family = {"Gemma 2",       kTypes,           kDecoderPrefixes,     "layers.",        "lm_head.", specOf,
                              decoderComplete, decoderEmbedding, decoderAttentionNorm, decoderAttention, rest,       decoderHead,
                              decoderIsIgnored};

}  // namespace headscope::core
