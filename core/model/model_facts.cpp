#include "core/model/model_facts.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

namespace headscope::core {
namespace {

/// Elements by stored type of all tensors, block scales left out.
std::vector<std::pair<std::string, int64_t>> storedTypes(const Checkpoint& checkpoint) {
  std::map<std::string, int64_t> counts;
  for (const TensorInfo* tensor : checkpoint.tensors()) {
    if (!tensor->name.ends_with("_scale_inv")) counts[std::string(nameOf(tensor->dtype))] += tensor->count();
  }
  std::vector<std::pair<std::string, int64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

void judge(ModelFacts& facts, const Model& model) {
  const ModelSpec& spec = model.spec();
  const auto layers = static_cast<int64_t>(facts.wholeLayers.size());
  if (facts.missingTensors.empty()) {
    facts.supported.push_back("attention maps and everything else of the forward pass");
  } else {
    facts.unsupported.push_back("the forward pass: " + std::to_string(facts.missingTensors.size()) + " tensors are missing");
  }
  if (layers > 0) facts.supported.push_back("weight views of " + std::to_string(layers) + " of " + std::to_string(spec.layers) + " layers");
  if (layers < spec.layers) facts.unsupported.push_back("weight views of the other " + std::to_string(spec.layers - layers) + " layers");
  if (spec.head == HeadKind::None) facts.unsupported.push_back("logits: the checkpoint has no head for them");
}

}  // namespace

int64_t cacheNumbersPerLayer(const ModelSpec& spec) {
  return spec.mla ? spec.mla->latentRank + spec.mla->rope : spec.kvHeads * (spec.headWidth + spec.valueWidth);
}

ModelFacts factsOf(const Model& model) {
  const ModelSpec& spec = model.spec();
  ModelFacts facts;
  facts.parameters = model.parameters();
  facts.bytes = model.checkpoint().bytes();
  facts.dtypes = storedTypes(model.checkpoint());
  facts.cacheNumbersPerToken = cacheNumbersPerLayer(spec) * spec.layers;
  const bool isWide = !facts.dtypes.empty() && (facts.dtypes.front().first == "F32" || facts.dtypes.front().first == "F64");
  facts.cacheType = isWide ? "float32" : "16 bit";
  facts.cacheBytesPerToken = facts.cacheNumbersPerToken * (isWide ? 4 : 2);
  for (int64_t l = 0; l < spec.layers; ++l) {
    if (model.hasAttention(l)) facts.wholeLayers.push_back(l);
  }
  facts.missingTensors = model.missing();
  facts.missingFiles = model.checkpoint().missingFiles();
  facts.notes = model.notes();
  judge(facts, model);
  return facts;
}

std::string positionsText(const ModelSpec& spec) {
  if (spec.positions == PositionKind::None) return "none";
  if (spec.positions == PositionKind::Learned) return "learned";
  std::ostringstream text;
  text << "rotary (base " << spec.rope.base;
  if (spec.rope.scaling != "default") text << ", " << spec.rope.scaling << " scaling";
  const int64_t dims = spec.mla ? spec.mla->nope + spec.mla->rope : spec.headWidth;
  if (spec.rope.dims != dims) text << ", " << spec.rope.dims << " of " << dims << " dimensions";
  text << ")";
  return text.str();
}

std::string windowsText(const ModelSpec& spec) {
  std::map<int64_t, int64_t> layersOf;
  for (const LayerSpec& layer : spec.layer) {
    if (layer.window > 0) ++layersOf[layer.window];
  }
  std::string text;
  for (const auto& [window, layers] : layersOf) {
    text += (text.empty() ? "" : ", ") + std::to_string(window) + " keys in " + std::to_string(layers) + " of " +
            std::to_string(spec.layers) + " layers";
  }
  return text;
}

std::string nameOf(Activation activation) {
  constexpr std::array<const char*, 9> kNames = {"gelu",         "gelu (tanh)", "gelu (sigmoid)", "silu",    "relu",
                                                 "relu squared", "tanh",        "sigmoid",        "identity"};
  return kNames[static_cast<size_t>(activation)];
}

}  // namespace headscope::core
