#pragma once
// Trace: one prompt's immutable run through a model: residual stream, queries, keys and values per layer (after positions),
// row statistics, final logits on demand. Never the N x N maps: an AttentionMap makes any part of one from this.
// Memory: N * (d + H k + G k + G v) floats a layer and 4 floats a head and row. Under MLA keys and values are kept expanded, so
// G = H, keys being [nope, rope] per head.
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "core/backend/attention_rule.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/model/prompt.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class Backend;        // core/backend/backend.h
class EffectiveMaps;  // core/attention/effective_maps.h

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
  /// Rows that have logits: N, or 1 for a classifier, which reads the first position alone.
  int64_t logitRows() const;
  /// Logits of rows [first, first + count): [count, vocabulary or classes]. Costs a product with the unembedding.
  Matrix logits(int64_t first, int64_t count, Job& job) const;
  /// The `top` most likely next tokens (masked-token fills for a masked model) at row `query`; a classifier's classes, which are the
  /// same whatever the query.
  std::vector<NextToken> nextTokens(int64_t query, int64_t top, Job& job) const;
  /// Mean next-token loss in nats over rows 0 .. N - 2; NaN for N < 2 or models that don't predict the next token.
  double loss(Job& job) const;

  // For what computes on the trace where it lies
  Backend& backend() const { return *backend_; }
  std::shared_ptr<Backend> sharedBackend() const { return backend_; }
  /// Shapes, scale, cap and mask of the layer's heads; kvHeads is of what the trace holds (H under MLA).
  const AttentionRule& rule(int64_t layer) const;
  const AttentionInput& input(int64_t layer) const;            // in the backend's memory
  const AttentionStatistics& statistics(int64_t layer) const;  // in the backend's memory
  /// The maps of heads that did not run under the model's own attention, whose statistics are of the own one still; null: all did.
  const EffectiveMaps* effectiveMaps() const { return effectiveMaps_.get(); }

  uint64_t bytes() const;  // held by this trace
  double forwardSeconds() const { return forwardSeconds_; }

 private:
  friend class ForwardPass;
  Trace() = default;
  struct Layer {
    AttentionInput input;
    AttentionStatistics rows;
  };
  /// The tensor's numbers in host memory: where they are, or copied there once when they lie on a device.
  ConstMatrixView onHost(const Tensor& tensor) const;
  /// The last residual stream's rows as the unembedding reads them.
  Tensor readyForUnembedding(int64_t first, int64_t count, Job& job) const;

  std::shared_ptr<const Model> model_;
  std::shared_ptr<const Prompt> prompt_;
  std::shared_ptr<Backend> backend_;
  std::vector<Layer> layers_;
  std::vector<Tensor> hidden_;  // [N, d] each
  double forwardSeconds_ = 0;
  mutable std::mutex copiesMutex_;
  mutable std::vector<std::pair<const Storage*, Matrix>> copies_;  // of tensors that the host can't read
  std::shared_ptr<const EffectiveMaps> effectiveMaps_;             // borrows from all of the above
};

}  // namespace headscope::core
