#pragma once
// Trace: one prompt's immutable run through a model: residual stream, queries, keys and values per layer (after positions),
// row statistics, final logits on demand. Never the N x N maps: an AttentionMap makes any part of one from this.
// Memory: N * (d + H k + G k + G v) floats a layer and 4 floats a head and row.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/job.h"
#include "core/model/model.h"
#include "core/model/prompt.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class Backend;  // core/backend/backend.h

/// One attention head. Written "3.1" for layer 3, head 1, both from 0.
struct HeadRef {
  int64_t layer = 0, head = 0;
  auto operator<=>(const HeadRef&) const = default;
};

struct NextToken {
  int32_t id = 0;
  double probability = 0;
};

/// Statistics of each row of one head's map that the forward pass yields on its way, [N] each.
struct RowStatistics {
  std::span<const float> max;        // of the scaled, soft-capped, masked scores
  std::span<const float> logSumExp;  // so that A[i, j] = exp(score[i, j] - logSumExp[i])
  std::span<const float> entropy;    // bits
  std::span<const float> distance;   // sum_j A[i, j] |i - j|
};

class Trace {
 public:
  const Model& model() const { return *model_; }
  std::shared_ptr<const Model> sharedModel() const { return model_; }
  const ModelSpec& spec() const { return model_->spec(); }
  const Prompt& prompt() const { return *prompt_; }
  std::shared_ptr<const Prompt> sharedPrompt() const { return prompt_; }
  int64_t count() const { return prompt_->count(); }  // N
  /// Layers that were run: 0 .. layersRun() - 1.
  int64_t layersRun() const { return static_cast<int64_t>(layers_.size()); }

  ConstMatrixView query(int64_t layer, int64_t head) const;    // [N, k]
  ConstMatrixView key(int64_t layer, int64_t kvHead) const;    // [N, k]
  ConstMatrixView value(int64_t layer, int64_t kvHead) const;  // [N, v]
  RowStatistics rows(HeadRef head) const;
  /// Residual stream: 0 = embeddings, l + 1 = after layer l; the last is after the final norm where there is one (as Hugging Face).
  ConstMatrixView hidden(int64_t index) const;  // [N, d]

  bool hasLogits() const;  // the model has an unembedding and all layers were run
  /// Logits of rows [first, first + count): [count, vocab]. Costs a product with the unembedding.
  Matrix logits(int64_t first, int64_t count, Job& job) const;
  /// The `top` most likely next tokens (masked-token fills for a masked model) at row `query`.
  std::vector<NextToken> nextTokens(int64_t query, int64_t top, Job& job) const;
  /// Mean next-token loss in nats over rows 0 .. N - 2; NaN for N < 2 or non-causal models.
  double loss(Job& job) const;

  uint64_t bytes() const;  // held by this trace
  double forwardSeconds() const { return forwardSeconds_; }

 private:
  friend class ForwardPass;
  Trace() = default;
  struct Layer {
    Matrix query, key, value;                              // [N, H*k], [N, G*k], [N, G*v]
    Matrix rowMax, rowLogSumExp, rowEntropy, rowDistance;  // [H, N]
  };
  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Prompt> prompt_;
  std::shared_ptr<Backend> backend_;
  std::vector<Layer> layers_;
  std::vector<Matrix> hidden_;
  double forwardSeconds_ = 0;
};

}  // namespace headscope::core
