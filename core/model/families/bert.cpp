// BERT and what keeps its shape (MiniLM, sentence encoders): both directions, learned positions, segments, norms after the sums;
// logits for masked words where the file has cls.predictions.
#include <array>
#include <cmath>

#include "core/model/activations.h"
#include "core/model/families/common.h"

namespace headscope::core {
namespace {

constexpr std::array<std::string_view, 1> kTypes = {"bert"};
constexpr std::array<std::string_view, 2> kPrefixes = {"bert.", ""};

ModelSpec specOf(const ConfigReader& config) {
  ModelSpec spec;
  spec.layers = config.size("num_hidden_layers", 12, kMostLayers);
  spec.width = config.size("hidden_size", 768, kMostWidth);
  spec.heads = spec.kvHeads = config.size("num_attention_heads", 12, kMostHeads);
  spec.vocabulary = config.size("vocab_size", 30522, kMostEntries);
  spec.context = config.size("max_position_embeddings", 512, kMostEntries);
  spec.segments = config.size("type_vocab_size", 2, kMostEntries);
  if (spec.width % spec.heads != 0) {
    throw config.fault("num_attention_heads", std::to_string(spec.heads) + " heads don't divide the width " + std::to_string(spec.width));
  }
  spec.headWidth = spec.valueWidth = spec.width / spec.heads;
  refuseIfOn(config, {"is_decoder", "add_cross_attention"});
  if (config.text("position_embedding_type", "absolute") != "absolute") throw config.unsupported("position_embedding_type");
  readQuantisation(spec, config);
  spec.isCausal = false;
  spec.norm = NormKind::LayerNorm;
  spec.normPlacement = NormPlacement::AfterSum;
  spec.normEps = config.positive("layer_norm_eps", 1e-12);
  spec.hasEmbeddingNorm = true;
  spec.hasFinalNorm = false;
  spec.positions = PositionKind::Learned;
  spec.activation = activationFromConfig(config, "hidden_act", "gelu");
  spec.isGatedMlp = false;
  spec.isTied = isTiedByConfig(config, true);
  spec.head = HeadKind::MaskedLanguage;
  spec.storage.hasQkvBias = spec.storage.hasOutputBias = spec.storage.hasMlpBias = true;
  fillLayers(spec, config.size("intermediate_size", 3072, kMostWidth), 1.0 / std::sqrt(static_cast<double>(spec.headWidth)));
  return spec;
}

void complete(ModelSpec& spec, const RoleReader& reader) {
  if (reader.hasTop("cls.predictions.transform.dense.weight")) return;
  for (const std::string& architecture : spec.architectures) {
    if (architecture == "BertForMaskedLM" || architecture == "BertForPreTraining") return;  // promised: its tensors are missing
  }
  spec.head = HeadKind::None;
  spec.notes.push_back("the folder has no cls.predictions: there are no masked-word logits");
}

EmbeddingWeights embedding(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  EmbeddingWeights weights;
  weights.tokens = reader.matrix("embeddings.word_embeddings.weight", spec.vocabulary, spec.width);
  weights.positions = reader.matrix("embeddings.position_embeddings.weight", spec.context, spec.width);
  weights.segments = reader.matrix("embeddings.token_type_embeddings.weight", spec.segments, spec.width);
  weights.norm = reader.norm("embeddings.LayerNorm", spec.width, true);
  return weights;
}

NormWeights attentionNorm(RoleReader& reader, int64_t layer) {
  return reader.norm(layerName("encoder.layer.", layer) + "attention.output.LayerNorm", reader.spec.width, true);
}

AttentionWeights attention(RoleReader& reader, int64_t layer) {
  const int64_t d = reader.spec.width;
  const std::string at = layerName("encoder.layer.", layer) + "attention.";
  AttentionWeights weights;
  weights.query = reader.linear(at + "self.query", {d, d, true});
  weights.key = reader.linear(at + "self.key", {d, d, true});
  weights.value = reader.linear(at + "self.value", {d, d, true});
  weights.output = reader.linear(at + "output.dense", {d, d, true});
  return weights;
}

void rest(RoleReader& reader, int64_t layer, LayerWeights& weights) {
  const int64_t d = reader.spec.width, inner = reader.spec.layer[static_cast<size_t>(layer)].intermediate;
  const std::string at = layerName("encoder.layer.", layer);
  weights.mlpNorm = reader.norm(at + "output.LayerNorm", d, true);
  weights.mlp.up = reader.linear(at + "intermediate.dense", {inner, d, true});
  weights.mlp.down = reader.linear(at + "output.dense", {d, inner, true});
}

HeadWeightsOnTop head(RoleReader& reader) {
  const ModelSpec& spec = reader.spec;
  HeadWeightsOnTop weights;
  if (spec.head == HeadKind::None) return weights;
  weights.transform = reader.topLinear("cls.predictions.transform.dense", {spec.width, spec.width, true});
  weights.transformActivation = spec.activation;
  weights.transformNorm = reader.topNorm("cls.predictions.transform.LayerNorm", spec.width, true);
  // Tied, the decoder's bias is cls.predictions.bias; apart, it has its own, which older files lack.
  if (spec.isTied) {
    weights.unembedding = reader.tiedTop("cls.predictions.decoder", "embeddings.word_embeddings.weight", {spec.vocabulary, spec.width},
                                         "cls.predictions.bias");
  } else {
    const bool hasOwn = reader.hasTop("cls.predictions.decoder.bias");
    weights.unembedding = reader.topLinear("cls.predictions.decoder", {spec.vocabulary, spec.width, hasOwn});
    if (!hasOwn) weights.unembedding.bias = reader.topVector("cls.predictions.bias", spec.vocabulary);
  }
  return weights;
}

bool isIgnored(std::string_view name) { return name == "embeddings.position_ids" || name == "embeddings.token_type_ids"; }

}  // namespace

const Family kBertFamily = {"BERT",    kTypes, kPrefixes, "encoder.layer.", "cls.predictions.", specOf, complete, embedding, attentionNorm,
                            attention, rest,   head,      isIgnored};

}  // namespace headscope::core
