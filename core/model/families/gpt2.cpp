// GPT-2. Its linear maps are Conv1D, stored [in, out]; c_attn holds queries, keys and values side by side; names come with or
// without "transformer."; the unembedding is the embedding unless the config says otherwise.
#include <array>
#include <cmath>

#include "core/model/activations.h"
#include "core/model/families/common.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"gpt2"};
constexpr std::array<std::string_view, 2> kPrefixes = {"transformer.", ""};

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec;
  // transformers also takes the common spellings of these names.
  const auto size = [&](std::string_view key, std::string_view other, int64_t fallback, int64_t high) {
    return config.has(key) ? config.size(key, fallback, high) : config.size(other, fallback, high);
  };
  spec.layers = size("n_layer", "num_hidden_layers", 12, kMostLayers);
  spec.width = size("n_embd", "hidden_size", 768, kMostWidth);
  spec.heads = spec.kvHeads = size("n_head", "num_attention_heads", 12, kMostHeads);
  spec.context = size("n_positions", "max_position_embeddings", 1024, kMostEntries);
  spec.vocabulary = config.size("vocab_size", 50257, kMostEntries);
  if (spec.width % spec.heads != 0) {
    throw config.fault("n_head", std::to_string(spec.heads) + " heads don't divide the width " + std::to_string(spec.width));
  }
  spec.headWidth = spec.valueWidth = spec.width / spec.heads;
  refuseIfOn(config, {"add_cross_attention"}, "there is no encoder to attend to");

  spec.norm = NormKind::LayerNorm;
  spec.normEps = config.positive("layer_norm_epsilon", 1e-5);
  spec.positions = PositionKind::Learned;
  spec.activation = activationFromConfig(config, "activation_function", "gelu_new");
  spec.isGatedMlp = false;
  spec.isTied = isTiedByConfig(config, true);
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = spec.storage.hasMlpBias = true;
  const double scale = config.flag("scale_attn_weights", true) ? 1.0 / std::sqrt(static_cast<double>(spec.headWidth)) : 1.0;
  fillLayers(spec, config.size("n_inner", 4 * spec.width, kMostWidth), scale);
  if (config.flag("scale_attn_by_inverse_layer_idx", false)) {
    for (int64_t l = 0; l < spec.layers; ++l) spec.layer[static_cast<size_t>(l)].attentionScale /= static_cast<double>(l + 1);
  }
  return spec;
}

void complete(ModelSpec& spec, const RoleReader& reader) { completeLanguageHead(spec, reader, "lm_head"); }

EmbeddingWeights embedding(RoleReader& reader) {
  EmbeddingWeights weights;
  weights.tokens = reader.matrix("wte.weight", reader.spec.vocabulary, reader.spec.width);
  weights.positions = reader.matrix("wpe.weight", reader.spec.context, reader.spec.width);
  return weights;
}

NormWeights attentionNorm(RoleReader& reader, int64_t layer) {
  return reader.norm(layerName("h.", layer) + "ln_1", reader.spec.width, true);
}

AttentionWeights attention(RoleReader& reader, int64_t layer) {
  const int64_t d = reader.spec.width;
  const std::string at = layerName("h.", layer) + "attn.";
  const auto third = [&](int64_t part) {
    return reader.linear(at + "c_attn", {3 * d, d, true, true}, [&](const WeightView& w) { return w.outputsFrom(part * d, d); });
  };
  AttentionWeights weights;
  weights.query = third(0);
  weights.key = third(1);
  weights.value = third(2);
  weights.output = reader.linear(at + "c_proj", {d, d, true, true});
  return weights;
}

void rest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const int64_t d = reader.spec.width, inner = reader.spec.layer[static_cast<size_t>(layer)].intermediate;
  const std::string at = layerName("h.", layer);
  weights.mlpNorm = reader.norm(at + "ln_2", d, true);
  weights.mlp.up = reader.linear(at + "mlp.c_fc", {inner, d, true, true});
  weights.mlp.down = reader.linear(at + "mlp.c_proj", {d, inner, true, true});
}

HeadWeightsOnTop head(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  HeadWeightsOnTop weights;
  weights.finalNorm = reader.norm("ln_f", spec.width, true);
  if (spec.head == HeadKind::None) return weights;
  weights.unembedding = spec.isTied ? reader.tiedTop("lm_head", "wte.weight", {spec.vocabulary, spec.width})
                                    : reader.topLinear("lm_head", {spec.vocabulary, spec.width});
  return weights;
}

/// Old files carry the causal mask as tensors.
bool isIgnored(std::string_view name) {
  return name.starts_with("h.") && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

}  // namespace

const Family kGpt2Family = {"GPT-2",   kTypes,        kPrefixes, "h.", "lm_head.", specOf,   complete,
                            embedding, attentionNorm, attention, rest, head,       isIgnored};

}  // namespace headscope::core
