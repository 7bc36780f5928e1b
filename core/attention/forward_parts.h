#pragma once
// The pieces of the forward pass, each written once for every family: embedding, projections to heads, feed-forward, experts.
// Used by forward.cpp alone and by tests of single pieces.
#include <cstdint>
#include <vector>

#include "core/attention/forward.h"

namespace headscope::core {

/// What every piece needs. N tokens.
struct PassContext {
  const Model& model;
  const ModelSpec& spec;
  const Prompt& prompt;
  Backend& backend;
  Job& job;
  int64_t count() const { return prompt.count(); }  // N
};

/// Tensors that are written anew in every layer, so that their memory is taken once.
class Scratch {
 public:
  explicit Scratch(Backend& backend) : backend_(backend) {}
  /// Uninitialised [rows, cols], the same memory for the same slot while its shape stays.
  const Tensor& take(size_t slot, int64_t rows, int64_t cols);

 private:
  Backend& backend_;
  std::vector<Tensor> slots_;
};

/// A tensor's numbers for host code: where they are, or a copy.
class HostNumbers {
 public:
  HostNumbers(Backend& backend, const Tensor& tensor);
  ConstMatrixView view() const { return view_; }

 private:
  Matrix copy_;
  ConstMatrixView view_;
};

// embedding.cpp
/// Throws Error naming what is wrong with the prompt for this model: empty, ids or segments out of range, too long, wrong image size.
void checkPrompt(const ModelSpec& spec, const Prompt& prompt, const EmbeddingWeights& weights);
Tensor embedPrompt(const PassContext& pass);  // [N, d]

// projections.cpp
/// Q, K, V of one layer after norms and positions, and the layer's rule. x [N, d] is what the projections read.
AttentionInput projectHeads(const PassContext& pass, int64_t layer, const AttentionWeights& weights, const Tensor& x);

// feed_forward.cpp
/// down(f(up x)) or down(f(gate x) * up x).
void feedForward(const PassContext& pass, const MlpWeights& weights, const Tensor& x, Into into, const Tensor& out, Scratch& scratch);

// experts.cpp
/// Which tokens each expert gets, and with what weight.
struct ExpertRoute {
  std::vector<int32_t> tokens;
  std::vector<float> weights;
};
/// Routes by scores [N, experts] (before softmax or sigmoid). Ties go to the smaller index.
std::vector<ExpertRoute> routeTokens(const MoeSpec& spec, const std::vector<float>& correctionBias, ConstMatrixView logits);
/// The routed experts' outputs, weighted, and the shared expert's. Only experts that got a token are decoded.
void mixExperts(const PassContext& pass, const MoeWeights& weights, const Tensor& x, Into into, const Tensor& out, Scratch& scratch);

}  // namespace headscope::core
