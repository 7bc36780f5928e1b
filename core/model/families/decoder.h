#pragma once
// The tensor layout that Llama began and Mistral, Qwen, Gemma and DeepSeek keep: model.layers.N.self_attn.{q,k,v,o}_proj,
// mlp.{gate,up,down}_proj, input_layernorm, post_attention_layernorm. Families with it differ in their config, which ends up in the
// spec, and read their tensors here.
#include <array>

#include "core/model/families/common.h"

namespace headscope::core {

/// Where a decoder's backbone may lie: alone, in a causal model, inside a model of text and images.
inline constexpr std::array<std::string_view, 6> kDecoderPrefixes = {
    "model.", "", "language_model.model.", "model.language_model.", "model.text_model.", "language_model."};

/// The keys that all these configs share, with their defaults.
struct DecoderDefaults {
  int64_t vocabulary = 32000, width = 4096, intermediate = 11008, layers = 32, heads = 32;
  int64_t kvHeads = 0;    // when the key is absent; 0: as many as heads
  int64_t headWidth = 0;  // 0: width / heads
  int64_t context = 2048;
  bool isTied = false;
  std::string_view activationKey = "hidden_act", activation = "silu";
};

/// Sizes, norm, activation, tying, quantisation; layers filled without windows; rotation left to the family.
ModelSpec decoderSpec(const ConfigReader& config, const DecoderDefaults& defaults);

void decoderComplete(ModelSpec& spec, const RoleReader& reader);
EmbeddingWeights decoderEmbedding(RoleReader& reader);
NormWeights decoderAttentionNorm(RoleReader& reader, int64_t layer);
AttentionWeights decoderAttention(RoleReader& reader, int64_t layer);
void decoderRest(RoleReader& reader, int64_t layer, LayerWeights& weights);
HeadWeightsOnTop decoderHead(RoleReader& reader);
bool decoderIsIgnored(std::string_view name);
/// gate, up and down of one gated MLP below `at`.
MlpWeights decoderMlp(RoleReader& reader, const std::string& at, int64_t intermediate, bool hasBias);

}  // namespace headscope::core
