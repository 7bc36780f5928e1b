#include "core/attention/weight_stream.h"

#include <cstdio>
#include <set>

#include "core/base/mapped_file.h"
#include "core/checkpoint/stored_span.h"

namespace headscope::core {
namespace {

/// Calls visit(view) for every matrix of the layer.
template <class Visit>
void eachMatrix(const LayerWeights& layer, const Visit& visit) {
  const auto one = [&](const Linear& linear) {
    if (!linear.empty()) visit(linear.weight);
  };
  const auto mlp = [&](const MlpWeights& w) {
    for (const Linear* linear : {&w.up, &w.gate, &w.down}) one(*linear);
  };
  const AttentionWeights& a = layer.attention;
  for (const Linear* linear :
       {&a.query, &a.key, &a.value, &a.output, &a.queryDown, &a.queryUp, &a.latentDown, &a.ropeKey, &a.keyUp, &a.valueUp}) {
    one(*linear);
  }
  mlp(layer.mlp);
  mlp(layer.moe.shared);
  one(layer.moe.router);
  for (const MlpWeights& expert : layer.moe.experts) mlp(expert);
}

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

uint64_t storedBytes(const LayerWeights& layer) {
  std::set<const std::byte*> seen;  // fused tensors serve several roles
  uint64_t bytes = 0;
  eachMatrix(layer, [&](const WeightView& w) {
    if (seen.insert(w.data).second) bytes += storedSpan(w).size();
  });
  return bytes;
}

WeightStream::WeightStream(const Model& model, int64_t layers, uint64_t memoryBytes) : layers_(layers), memoryBytes_(memoryBytes) {
  if (model.checkpoint().bytes() <= memoryBytes) return;  // all of it fits, whatever the layers take
  for (int64_t l = 0; l < layers; ++l) bytes_ += storedBytes(model.layer(l));
}

std::string WeightStream::stage(int64_t layer) const {
  std::string text = "layer " + std::to_string(layer + 1) + " of " + std::to_string(layers_);
  if (isStreaming()) text += ", read from disk (" + gigabytes(bytes_) + ", " + gigabytes(memoryBytes_) + " of memory free)";
  return text;
}

void WeightStream::release(const LayerWeights& layer) const {
  if (!isStreaming()) return;
  eachMatrix(layer, [](const WeightView& w) { releasePages(storedSpan(w)); });
}

}  // namespace headscope::core
