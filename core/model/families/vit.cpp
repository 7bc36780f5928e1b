// ViT: patches through one linear map, a class token before them, learned positions, norms before the blocks, both directions.
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/model/activations.h"
#include "core/model/families/common.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"vit"};
constexpr std::array<std::string_view, 2> kPrefixes = {"vit.", ""};
constexpr int64_t kLargestSide = 1 << 16;

/// One number, or [height, width].
std::pair<int64_t, int64_t> sides(const ConfigReader& config, std::string_view key, int64_t fallback) {
  if (!config.has(key)) return {fallback, fallback};
  const std::vector<int64_t> both = config.integers(key);
  if (both.empty() || both.size() > 2) throw config.fault(key, "must be one or two whole numbers");
  for (const int64_t side : both) {
    if (side < 1 || side > kLargestSide) throw config.fault(key, "is outside 1 to " + std::to_string(kLargestSide));
  }
  return {both.front(), both.back()};
}

int64_t classesOf(const ConfigReader& config) {
  if (config.has("id2label")) return static_cast<int64_t>(config.object("id2label").raw().size());
  return config.integer("num_labels", 2, 0, kMostEntries);
}

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec;
  spec.layers = config.size("num_hidden_layers", 12, kMostLayers);
  spec.width = config.size("hidden_size", 768, kMostWidth);
  spec.heads = spec.kvHeads = config.size("num_attention_heads", 12, kMostHeads);
  if (spec.width % spec.heads != 0) {
    throw config.fault("num_attention_heads", std::to_string(spec.heads) + " heads don't divide the width " + std::to_string(spec.width));
  }
  spec.headWidth = spec.valueWidth = spec.width / spec.heads;
  const auto [height, width] = sides(config, "image_size", 224);
  const auto [patchHeight, patchWidth] = sides(config, "patch_size", 16);
  if (patchHeight != patchWidth) throw config.unsupported("patch_size", "patches must be square");
  if (patchHeight > height || patchWidth > width) throw config.fault("patch_size", "is larger than the image");
  spec.image = ImageSpec{height, width, patchHeight, config.size("num_channels", 3, 1024)};
  spec.context = spec.image->patches() + 1;
  readQuantisation(spec, config);
  spec.input = InputKind::Image;
  spec.isCausal = false;
  spec.norm = NormKind::LayerNorm;
  spec.normEps = config.positive("layer_norm_eps", 1e-12);
  spec.positions = PositionKind::Learned;
  spec.activation = activationFromConfig(config, "hidden_act", "gelu");
  spec.isGatedMlp = false;
  spec.head = HeadKind::Classifier;
  spec.classes = classesOf(config);
  spec.storage.hasQkvBias = config.flag("qkv_bias", true);
  spec.storage.hasOutputBias = spec.storage.hasMlpBias = true;
  fillLayers(spec, config.size("intermediate_size", 3072, kMostWidth), 1.0 / std::sqrt(static_cast<double>(spec.headWidth)));
  return spec;
}

void complete(ModelSpec& spec, const RoleReader& reader) {
  bool isPromised = false;
  for (const std::string& architecture : spec.architectures) isPromised |= architecture == "ViTForImageClassification";
  if (spec.classes > 0 && (isPromised || reader.hasTop("classifier.weight"))) return;
  spec.head = HeadKind::None;
  spec.classes = 0;
  spec.notes.push_back("the folder has no classifier: there are no class logits");
}

EmbeddingWeights embedding(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  const ImageSpec& image = *spec.image;
  EmbeddingWeights weights;
  weights.patch = reader.matrix("embeddings.patch_embeddings.projection.weight", spec.width, image.channels * image.patch * image.patch);
  weights.patchBias = reader.vector("embeddings.patch_embeddings.projection.bias", spec.width);
  weights.classToken = reader.vector("embeddings.cls_token", spec.width);
  weights.positions = reader.matrix("embeddings.position_embeddings", spec.context, spec.width);
  return weights;
}

NormWeights attentionNorm(RoleReader& reader, int64_t layer) {
  return reader.norm(layerName("encoder.layer.", layer) + "layernorm_before", reader.spec.width, true);
}

AttentionWeights attention(RoleReader& reader, int64_t layer) {
  const int64_t d = reader.spec.width;
  const bool hasBias = reader.spec.storage.hasQkvBias;
  const std::string at = layerName("encoder.layer.", layer) + "attention.";
  AttentionWeights weights;
  weights.query = reader.linear(at + "attention.query", {d, d, hasBias});
  weights.key = reader.linear(at + "attention.key", {d, d, hasBias});
  weights.value = reader.linear(at + "attention.value", {d, d, hasBias});
  weights.output = reader.linear(at + "output.dense", {d, d, true});
  return weights;
}

void rest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const int64_t d = reader.spec.width, inner = reader.spec.layer[static_cast<size_t>(layer)].intermediate;
  const std::string at = layerName("encoder.layer.", layer);
  weights.mlpNorm = reader.norm(at + "layernorm_after", d, true);
  weights.mlp.up = reader.linear(at + "intermediate.dense", {inner, d, true});
  weights.mlp.down = reader.linear(at + "output.dense", {d, inner, true});
}

HeadWeightsOnTop head(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  HeadWeightsOnTop weights;
  weights.finalNorm = reader.norm("layernorm", spec.width, true);
  if (spec.head != HeadKind::None) weights.unembedding = reader.topLinear("classifier", {spec.classes, spec.width, true});
  return weights;
}

bool isIgnored(std::string_view) { return false; }

/// Newer classes name their modules layers.N.attention.q_proj and mlp.fc1; files keep the older names.
std::string moduleOf(std::string_view name) {
  if (!name.starts_with("layers.")) return std::string(name);
  const size_t dot = name.find('.', 7);
  if (dot == std::string_view::npos) return std::string(name);
  const std::string at = "encoder.layer." + std::string(name.substr(7, dot - 7)) + ".";
  const std::string_view rest = name.substr(dot + 1);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNames = {{{"attention.q_proj", "attention.attention.query"},
                                                                                    {"attention.k_proj", "attention.attention.key"},
                                                                                    {"attention.v_proj", "attention.attention.value"},
                                                                                    {"attention.o_proj", "attention.output.dense"},
                                                                                    {"mlp.fc1", "intermediate.dense"},
                                                                                    {"mlp.fc2", "output.dense"}}};
  for (const auto& [newer, older] : kNames) {
    if (rest == newer) return at + std::string(older);
  }
  return at + std::string(rest);
}

}  // namespace

const Family kVitFamily = {"ViT",     kTypes, kPrefixes, "encoder.layer.", "classifier.", specOf, complete, embedding, attentionNorm,
                           attention, rest,   head,      isIgnored,        moduleOf};

}  // namespace headscope::core
