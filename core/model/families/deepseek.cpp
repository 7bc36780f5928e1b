// DeepSeek-V2, V3 and Kimi-K2: multi-head latent attention and a mixture of experts after the first layers. kv_b_proj's rows lie per
// head, [H, nope + v, latent]; kv_a_proj_with_mqa's are the latent's and then the shared rotary key's.
// Sources: DeepSeek-V2 report; deepseek-ai/DeepSeek-V3 inference/model.py; Hugging Face's modelling for what configs default to.
#include <array>
#include <cmath>

#include "core/base/printable.h"
#include "core/model/families/decoder.h"
#include "core/model/rope.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes2 = {"deepseek_v2"};
constexpr std::array<std::string_view, 2> kTypes3 = {"deepseek_v3", "kimi_k2"};
constexpr int64_t kMostExperts = 4096, kMostExpertMatrices = 200'000;

struct LatentDefaults {
  int64_t experts, sharedExperts, expertIntermediate, firstMoe, groups, groupsPerToken, expertsPerToken;
  double routedScale;
};

void readLatent(ModelSpec& spec, const ConfigReader& config) {
  MlaSpec mla;
  mla.queryRank = config.isNull("q_lora_rank") ? 0 : config.integer("q_lora_rank", 1536, 0, kMostWidth);
  mla.latentRank = config.size("kv_lora_rank", 512, kMostWidth);
  mla.nope = config.size("qk_nope_head_dim", 128, kMostWidth);
  mla.rope = config.size("qk_rope_head_dim", 64, kMostWidth);
  if (spec.kvHeads != spec.heads) {
    throw config.fault("num_key_value_heads", std::to_string(spec.kvHeads) + " is not supported: latent attention has a key per head, " +
                                                  std::to_string(spec.heads));
  }
  spec.headWidth = mla.nope + mla.rope;
  spec.valueWidth = config.size("v_head_dim", 128, kMostWidth);
  spec.mla = mla;
  const double scale = attentionScaleFromRope(config) / std::sqrt(static_cast<double>(spec.headWidth));
  for (LayerSpec& layer : spec.layer) layer.attentionScale = scale;
}

void readExperts(ModelSpec& spec, const ConfigReader& config, const LatentDefaults& defaults) {
  const int64_t first = config.integer("first_k_dense_replace", defaults.firstMoe, 0, kMostEntries);
  const int64_t every = config.size("moe_layer_freq", 1, kMostEntries);
  const bool isDense = config.isNull("n_routed_experts");
  bool hasMoe = false;
  for (int64_t l = first; l < spec.layers && !isDense; ++l) {
    const bool isMoe = l % every == 0;
    spec.layer[static_cast<size_t>(l)].isMoe = isMoe;
    hasMoe |= isMoe;
  }
  if (!hasMoe) return;
  MoeSpec moe;
  moe.experts = config.size("n_routed_experts", defaults.experts, kMostExperts);
  if (moe.experts * spec.layers > kMostExpertMatrices) throw config.fault("n_routed_experts", "asks for more experts than are read here");
  moe.sharedExperts = config.isNull("n_shared_experts") ? 0 : config.integer("n_shared_experts", defaults.sharedExperts, 0, kMostExperts);
  moe.expertIntermediate = config.size("moe_intermediate_size", defaults.expertIntermediate, kMostWidth);
  moe.groups = config.size("n_group", config.isNull("n_group") ? 1 : defaults.groups, kMostExperts);
  moe.groupsPerToken = config.size("topk_group", config.isNull("topk_group") ? moe.groups : defaults.groupsPerToken, kMostExperts);
  if (defaults.expertsPerToken == 0 && !config.has("num_experts_per_tok")) throw config.fault("num_experts_per_tok", "is missing");
  moe.expertsPerToken = config.size("num_experts_per_tok", defaults.expertsPerToken, kMostExperts);
  moe.scale = config.number("routed_scaling_factor", defaults.routedScale);
  if (moe.experts % moe.groups != 0 || moe.groupsPerToken > moe.groups) {
    throw config.fault("n_group", std::to_string(moe.groups) + " groups, " + std::to_string(moe.groupsPerToken) +
                                      " of them a token, don't fit " + std::to_string(moe.experts) + " experts");
  }
  spec.moe = moe;
}

/// Experts that a token can reach must be enough for it.
void checkReach(const MoeSpec& moe, const ConfigReader& config) {
  const bool isLimited = moe.groupScore != MoeSpec::GroupScore::None;
  const int64_t reach = isLimited ? moe.groupsPerToken * (moe.experts / moe.groups) : moe.experts;
  if (moe.expertsPerToken > reach) {
    throw config.fault("num_experts_per_tok",
                       std::to_string(moe.expertsPerToken) + " experts a token, but only " + std::to_string(reach) + " can be reached");
  }
}

ModelSpec specOf2(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(config, {.vocabulary = 102400, .context = 2048});
  readLatent(spec, config);
  spec.rope = ropeFromConfig(config, {.headDims = spec.mla->rope, .context = spec.context, .isInterleaved = true});
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = config.flag("attention_bias", false);
  spec.storage.hasMlpBias = config.flag("mlp_bias", false);
  readExperts(spec, config, {64, 2, 1407, 0, 1, 1, 0, 1.0});
  if (!spec.moe) return spec;
  if (config.text("scoring_func", "softmax") != "softmax") throw config.unsupported("scoring_func", "DeepSeek-V2 routes by softmax");
  const std::string method = config.text("topk_method", "greedy");
  if (method == "group_limited_greedy") {
    spec.moe->groupScore = MoeSpec::GroupScore::Max;
  } else if (method != "greedy") {
    throw config.unsupported("topk_method", "known are greedy and group_limited_greedy");
  }
  if (config.flag("norm_topk_prob", false)) spec.notes.push_back("norm_topk_prob is not applied, as in Hugging Face's DeepSeek-V2");
  checkReach(*spec.moe, config);
  return spec;
}

ModelSpec specOf3(const ConfigReader& config) {
  ModelSpec spec = decoderSpec(
      config, {.vocabulary = 129280, .width = 7168, .intermediate = 18432, .layers = 61, .heads = 128, .kvHeads = 128, .context = 4096});
  readLatent(spec, config);
  spec.rope =
      ropeFromConfig(config, {.headDims = spec.mla->rope, .context = spec.context, .isInterleaved = config.flag("rope_interleave", true)});
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = config.flag("attention_bias", false);
  readExperts(spec, config, {256, 1, 2048, 3, 8, 4, 8, 2.5});
  if (!spec.moe) return spec;
  if (config.text("scoring_func", "sigmoid") != "sigmoid") throw config.unsupported("scoring_func", "DeepSeek-V3 routes by sigmoid");
  if (config.text("topk_method", "noaux_tc") != "noaux_tc") throw config.unsupported("topk_method", "DeepSeek-V3 routes by noaux_tc");
  spec.moe->scoring = MoeSpec::Scoring::Sigmoid;
  spec.moe->hasCorrectionBias = true;
  spec.moe->isNormalised = config.flag("norm_topk_prob", true);
  if (spec.moe->groups > 1) {
    if (spec.moe->experts / spec.moe->groups < 2) throw config.fault("n_group", "groups of one expert can't be scored by their best two");
    spec.moe->groupScore = MoeSpec::GroupScore::SumOfTopTwo;
  }
  checkReach(*spec.moe, config);
  return spec;
}

AttentionWeights attention(RoleReader& reader, int64_t layer) {
  const ModelSpec& spec = reader.spec;
  const MlaSpec& mla = *spec.mla;
  const int64_t d = spec.width, queries = spec.heads * spec.headWidth, v = spec.valueWidth;
  const bool hasBias = spec.storage.hasQkvBias;
  const std::string at = layerName("layers.", layer) + "self_attn.";
  AttentionWeights weights;
  if (mla.queryRank == 0) {
    weights.query = reader.linear(at + "q_proj", {queries, d});
  } else {
    weights.queryDown = reader.linear(at + "q_a_proj", {mla.queryRank, d, hasBias});
    weights.queryLatentNorm = reader.norm(at + "q_a_layernorm", mla.queryRank, false);
    weights.queryUp = reader.linear(at + "q_b_proj", {queries, mla.queryRank});
  }
  const auto latent = [&](int64_t first, int64_t count) {
    return reader.linear(at + "kv_a_proj_with_mqa", {mla.latentRank + mla.rope, d, hasBias},
                         [&](const WeightView& w) { return w.outputsFrom(first, count); });
  };
  weights.latentDown = latent(0, mla.latentRank);
  weights.ropeKey = latent(mla.latentRank, mla.rope);
  weights.latentNorm = reader.norm(at + "kv_a_layernorm", mla.latentRank, false);
  const auto perHead = [&](int64_t offset, int64_t size) {
    return reader.linear(at + "kv_b_proj", {spec.heads * (mla.nope + v), mla.latentRank},
                         [&](const WeightView& w) { return w.inGroups(spec.heads).withinGroups(offset, size); });
  };
  weights.keyUp = perHead(0, mla.nope);
  weights.valueUp = perHead(mla.nope, v);
  weights.output = reader.linear(at + "o_proj", {d, spec.heads * v, spec.storage.hasOutputBias});
  return weights;
}

void rest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const ModelSpec& spec = reader.spec;
  const std::string at = layerName("layers.", layer);
  weights.mlpNorm = reader.norm(at + "post_attention_layernorm", spec.width, false);
  const LayerSpec& rule = spec.layer[static_cast<size_t>(layer)];
  if (!rule.isMoe) {
    weights.mlp = decoderMlp(reader, at + "mlp.", rule.intermediate, spec.storage.hasMlpBias);
    return;
  }
  const MoeSpec& moe = *spec.moe;
  weights.moe.router = reader.linear(at + "mlp.gate", {moe.experts, spec.width});
  if (moe.hasCorrectionBias) weights.moe.routerBias = reader.vector(at + "mlp.gate.e_score_correction_bias", moe.experts);
  weights.moe.experts.reserve(static_cast<size_t>(moe.experts));
  for (int64_t e = 0; e < moe.experts; ++e) {
    weights.moe.experts.push_back(decoderMlp(reader, at + "mlp.experts." + std::to_string(e) + ".", moe.expertIntermediate, false));
  }
  if (moe.sharedExperts > 0) {
    weights.moe.shared =
        decoderMlp(reader, at + "mlp.shared_experts.", moe.sharedExperts * moe.expertIntermediate, spec.storage.hasMlpBias);
  }
}

}  // namespace

const Family kDeepseekV2Family = {"DeepSeek-V2",   kTypes2,          kDecoderPrefixes,     "layers.", "lm_head.", specOf2,
                                  decoderComplete, decoderEmbedding, decoderAttentionNorm, attention, rest,       decoderHead,
                                  decoderIsIgnored};
const Family kDeepseekV3Family = {"DeepSeek-V3",   kTypes3,          kDecoderPrefixes,     "layers.", "lm_head.", specOf3,
                                  decoderComplete, decoderEmbedding, decoderAttentionNorm, attention, rest,       decoderHead,
                                  decoderIsIgnored};

}  // namespace headscope::core
