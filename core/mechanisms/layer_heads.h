#pragma once
// LayerHeads: one layer of a trace as mechanisms want it: every head's HeadInput, and W_O to judge outputs by. Holds the
// layer's decoded attention weights and normed input; the trace holds the rest.
#include <memory>
#include <optional>

#include "core/attention/trace.h"
#include "core/mechanisms/mechanism.h"
#include "core/weights/head_weights.h"

namespace headscope::core {

class LayerHeads {
 public:
  /// Decodes the layer's attention weights (adapter on). Throws Error when they are missing. fit: the same model's run on
  /// another text, for mechanisms that are fitted there; null: none.
  LayerHeads(std::shared_ptr<const Trace> trace, int64_t layer, Job& job, std::shared_ptr<const Trace> fit = nullptr);

  int64_t layer() const { return layer_; }
  /// Borrows from this and the trace.
  HeadInput input(int64_t head) const;
  /// W_O of the head [v, d].
  ConstMatrixView outputWeight(int64_t head) const { return weights_.outputOf(head); }

 private:
  std::shared_ptr<const Trace> trace_, fit_;
  int64_t layer_;
  HeadWeights weights_;
  Matrix normed_;  // [N, d]; empty where the projections read the residual stream as it is
};

/// W_O of one head [v, d] as LayerHeads has it (adapter on), without decoding the rest of the layer.
Matrix headOutputWeight(const Model& model, HeadRef head);

/// What a head of this model is, without Q, K and V: scale, cap, window, rotation, place.
HeadInput headRules(const ModelSpec& spec, HeadRef head);

/// The head's input from a trace, without weights and normed input, which only DenseAttention reads and which cost the decoding of a layer.
HeadInput headInput(const std::shared_ptr<const Trace>& trace, HeadRef head);

/// Adds W_Q, W_K, W_V of one head; nothing under MLA, whose heads have none of their own.
void addProjections(HeadInput& input, const HeadWeights& weights);

/// x [N, d] through the norm, as the attention projections read it.
Matrix normedRows(ConstMatrixView x, const NormWeights& norm, NormKind kind, double eps);

}  // namespace headscope::core
