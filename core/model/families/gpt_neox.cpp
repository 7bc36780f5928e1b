// GPT-NeoX and Pythia: one query_key_value matrix whose rows are ordered (head, {q, k, v}, dimension), rotation of part of each
// head, attention and MLP beside each other unless the config says otherwise.
#include <array>
#include <cmath>

#include "core/model/activations.h"
#include "core/model/families/common.h"
#include "core/model/rope.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"gpt_neox"};
constexpr std::array<std::string_view, 2> kPrefixes = {"gpt_neox.", ""};

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec;
  spec.layers = config.size("num_hidden_layers", 44, kMostLayers);
  spec.width = config.size("hidden_size", 6144, kMostWidth);
  spec.heads = spec.kvHeads = config.size("num_attention_heads", 64, kMostHeads);
  spec.vocabulary = config.size("vocab_size", 50432, kMostEntries);
  spec.context = config.size("max_position_embeddings", 2048, kLongestContext);
  if (spec.width % spec.heads != 0) {
    throw config.fault("num_attention_heads", std::to_string(spec.heads) + " heads don't divide the width " + std::to_string(spec.width));
  }
  spec.headWidth = spec.valueWidth = spec.width / spec.heads;
  refuseIfOn(config, {"is_decoder", "add_cross_attention"});
  readQuantisation(spec, config);
  spec.norm = NormKind::LayerNorm;
  spec.normEps = config.positive("layer_norm_eps", 1e-5);
  spec.isParallelResidual = config.flag("use_parallel_residual", true);
  spec.activation = activationFromConfig(config, "hidden_act", "gelu");
  spec.isGatedMlp = false;
  spec.isTied = isTiedByConfig(config, false);
  spec.rope = ropeFromConfig(config, {.headDims = spec.headWidth,
                                      .context = spec.context,
                                      .partial = 0.25,
                                      .isPartialAllowed = true,
                                      .baseKey = "rotary_emb_base",
                                      .partialKey = "rotary_pct"});
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = config.flag("attention_bias", true);
  spec.storage.hasMlpBias = true;
  fillLayers(spec, config.size("intermediate_size", 24576, kMostWidth), 1.0 / std::sqrt(static_cast<double>(spec.headWidth)));
  return spec;
}

/// Files are written with embed_out; newer classes call the module lm_head.
std::string headModule(const RoleReader& reader) { return reader.hasTop("lm_head.weight") ? "lm_head" : "embed_out"; }

void complete(ModelSpec& spec, const RoleReader& reader) { completeLanguageHead(spec, reader, headModule(reader)); }

EmbeddingWeights embedding(RoleReader& reader) {
  EmbeddingWeights weights;
  weights.tokens = reader.matrix("embed_in.weight", reader.spec.vocabulary, reader.spec.width);
  return weights;
}

NormWeights attentionNorm(RoleReader& reader, int64_t layer) {
  return reader.norm(layerName("layers.", layer) + "input_layernorm", reader.spec.width, true);
}

AttentionWeights attention(RoleReader& reader, int64_t layer) {
  const ModelSpec& spec = reader.spec;
  const int64_t d = spec.width, k = spec.headWidth;
  const std::string at = layerName("layers.", layer) + "attention.";
  const auto part = [&](int64_t which) {
    return reader.linear(at + "query_key_value", {3 * d, d, spec.storage.hasQkvBias},
                         [&](const WeightView& w) { return w.inGroups(spec.heads).withinGroups(which * k, k); });
  };
  AttentionWeights weights;
  weights.query = part(0);
  weights.key = part(1);
  weights.value = part(2);
  weights.output = reader.linear(at + "dense", {d, d, spec.storage.hasOutputBias});
  return weights;
}

void rest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const int64_t d = reader.spec.width, inner = reader.spec.layer[static_cast<size_t>(layer)].intermediate;
  const std::string at = layerName("layers.", layer);
  weights.mlpNorm = reader.norm(at + "post_attention_layernorm", d, true);
  weights.mlp.up = reader.linear(at + "mlp.dense_h_to_4h", {inner, d, true});
  weights.mlp.down = reader.linear(at + "mlp.dense_4h_to_h", {d, inner, true});
}

HeadWeightsOnTop head(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  HeadWeightsOnTop weights;
  weights.finalNorm = reader.norm("final_layer_norm", spec.width, true);
  if (spec.head == HeadKind::None) return weights;
  const LinearShape shape{spec.vocabulary, spec.width};
  weights.unembedding = spec.isTied ? reader.tiedTop("embed_out", "embed_in.weight", shape) : reader.topLinear(headModule(reader), shape);
  return weights;
}

/// Old files carry the causal mask and the rotation's frequencies as tensors.
bool isIgnored(std::string_view name) {
  return name.ends_with(".attention.bias") || name.ends_with(".attention.masked_bias") || name.ends_with(".rotary_emb.inv_freq");
}

/// The unembedding's module as newer classes call it.
std::string moduleOf(std::string_view name) { return name == "lm_head" ? "embed_out" : std::string(name); }

}  // namespace

const Family kGptNeoxFamily = {"GPT-NeoX", kTypes,        kPrefixes, "layers.", "embed_out.", specOf,    complete,
                               embedding,  attentionNorm, attention, rest,      head,         isIgnored, moduleOf};

}  // namespace headscope::core
