#pragma once
// Neuron detail's picture, from plain data: how one query's weights come about, key by key: q, k, their elementwise product, the
// score it sums to, the softmax, and the share of the head's output that comes from each value.
#include <string>
#include <vector>

#include "core/session/session.h"
#include "core/tensor/matrix.h"
#include "views/value_scale.h"
#include "views/view.h"

namespace headscope::views {

struct NeuronKey {
  int64_t key = 0;
  double score = 0;   // scaled, soft-capped
  double weight = 0;  // softmax, or what the head's mechanism gives
  double share = 0;   // weight * (v_j . out) / |out|^2: sums to 1 over all keys; NaN where it reads values of elsewhere
};

struct NeuronData : ViewData {
  core::HeadRef head;
  int64_t query = 0;
  std::vector<NeuronKey> keys;      // every key that the query sees, in order
  core::Matrix queryVector;         // [1, k] after positions
  core::Matrix keyVectors;          // [keys, k] after positions
  double keyTop = 0;                // largest entry of keyVectors by size; 0: found while drawing
  double scale = 1;                 // multiplies q.k
  double softcap = 0;               // 0: none
  std::vector<std::string> labels;  // [N]
  std::string modelName;
  std::string mechanism;  // what the head ran under, "local:window=64"; "": the model's own attention
};

/// Largest finite entry by size; 1 where there is none but zeros.
double largestEntry(core::ConstMatrixView m);
/// The keys shown when only `rows` fit: those with the largest weights and `always`, in order. Indices into `keys`.
std::vector<size_t> shownKeys(const std::vector<NeuronKey>& keys, size_t rows, int64_t always);

Figure drawNeuron(const NeuronData& data, const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame);

}  // namespace headscope::views
