#include "core/model/families/decoder.h"

#include <cmath>

#include "core/model/activations.h"

namespace headscope::core {

ModelSpec decoderSpec(const ConfigReader& config, const DecoderDefaults& defaults) {
  ModelSpec spec;
  spec.layers = config.size("num_hidden_layers", defaults.layers, kMostLayers);
  spec.width = config.size("hidden_size", defaults.width, kMostWidth);
  spec.heads = config.size("num_attention_heads", defaults.heads, kMostHeads);
  const bool isKvOpen = defaults.kvHeads == 0 || config.isNull("num_key_value_heads");
  spec.kvHeads = config.size("num_key_value_heads", isKvOpen ? spec.heads : defaults.kvHeads, kMostHeads);
  if (spec.heads % spec.kvHeads != 0) {
    throw config.fault("num_key_value_heads",
                       std::to_string(spec.kvHeads) + " key/value heads don't divide " + std::to_string(spec.heads) + " heads");
  }
  const bool isWidthOpen = defaults.headWidth == 0 || config.isNull("head_dim");
  if (isWidthOpen && !config.has("head_dim") && spec.width < spec.heads) {
    throw config.fault("num_attention_heads", std::to_string(spec.heads) + " heads are more than the width " + std::to_string(spec.width));
  }
  spec.headWidth = spec.valueWidth = config.size("head_dim", isWidthOpen ? spec.width / spec.heads : defaults.headWidth, kMostWidth);
  spec.vocabulary = config.size("vocab_size", defaults.vocabulary, kMostEntries);
  spec.context = config.size("max_position_embeddings", defaults.context, kLongestContext);
  spec.normEps = config.positive("rms_norm_eps", 1e-6);
  spec.activation = activationFromConfig(config, defaults.activationKey, defaults.activation);
  spec.isTied = isTiedByConfig(config, defaults.isTied);
  refuseIfOn(config, {"add_cross_attention", "is_encoder_decoder"});
  readQuantisation(spec, config);
  fillLayers(spec, config.size("intermediate_size", defaults.intermediate, kMostWidth),
             1.0 / std::sqrt(static_cast<double>(spec.headWidth)));
  return spec;
}

void decoderComplete(ModelSpec& spec, const RoleReader& reader) { completeLanguageHead(spec, reader, "lm_head"); }

EmbeddingWeights decoderEmbedding(RoleReader& reader) {
  EmbeddingWeights weights;
  weights.tokens = reader.matrix("embed_tokens.weight", reader.spec.vocabulary, reader.spec.width);
  return weights;
}

NormWeights decoderAttentionNorm(RoleReader& reader, int64_t layer) {
  return reader.norm(layerName("layers.", layer) + "input_layernorm", reader.spec.width, false);
}

AttentionWeights decoderAttention(RoleReader& reader, int64_t layer) {
  const ModelSpec& spec = reader.spec;
  const std::string at = layerName("layers.", layer) + "self_attn.";
  const bool hasBias = spec.storage.hasQkvBias;
  AttentionWeights weights;
  weights.query = reader.linear(at + "q_proj", {spec.heads * spec.headWidth, spec.width, hasBias});
  weights.key = reader.linear(at + "k_proj", {spec.kvHeads * spec.headWidth, spec.width, hasBias});
  weights.value = reader.linear(at + "v_proj", {spec.kvHeads * spec.valueWidth, spec.width, hasBias});
  weights.output = reader.linear(at + "o_proj", {spec.width, spec.heads * spec.valueWidth, spec.storage.hasOutputBias});
  if (spec.hasHeadNorms) {
    weights.queryNorm = reader.norm(at + "q_norm", spec.headWidth, false);
    weights.keyNorm = reader.norm(at + "k_norm", spec.headWidth, false);
  }
  return weights;
}

MlpWeights decoderMlp(RoleReader& reader, const std::string& at, int64_t intermediate, bool hasBias) {
  const int64_t d = reader.spec.width;
  MlpWeights weights;
  weights.gate = reader.linear(at + "gate_proj", {intermediate, d, hasBias});
  weights.up = reader.linear(at + "up_proj", {intermediate, d, hasBias});
  weights.down = reader.linear(at + "down_proj", {d, intermediate, hasBias});
  return weights;
}

void decoderRest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const ModelSpec& spec = reader.spec;
  const std::string at = layerName("layers.", layer);
  weights.mlpNorm = reader.norm(at + "post_attention_layernorm", spec.width, false);
  weights.mlp = decoderMlp(reader, at + "mlp.", spec.layer[static_cast<size_t>(layer)].intermediate, spec.storage.hasMlpBias);
}

HeadWeightsOnTop decoderHead(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  HeadWeightsOnTop weights;
  weights.finalNorm = reader.norm("norm", spec.width, false);
  if (spec.head == HeadKind::None) return weights;
  weights.unembedding = spec.isTied ? reader.tiedTop("lm_head", "embed_tokens.weight", {spec.vocabulary, spec.width})
                                    : reader.topLinear("lm_head", {spec.vocabulary, spec.width});
  return weights;
}

bool decoderIsIgnored(std::string_view name) { return name.ends_with(".rotary_emb.inv_freq"); }

}  // namespace headscope::core
