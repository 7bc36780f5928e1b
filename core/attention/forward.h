#pragma once
// The forward pass: one piece of code for every family, written against Backend and Model. Yields a Trace.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/attention/trace.h"
#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/model/prompt.h"

namespace headscope::core {

/// Replaces one head's attention in the pass: gets its Q [N, k], K [N, k], V [N, v] and the residual input of the block [N, d]
/// (normed, as the projections read it) and fills out [N, v]. The trace's statistics stay those of the model's own attention on
/// these Q and K; its maps are those of ForwardOptions::effectiveMaps. Called for one head at a time.
using HeadReplacement = std::function<void(HeadRef head, ConstMatrixView query, ConstMatrixView key, ConstMatrixView value,
                                           ConstMatrixView normedInput, MatrixView out)>;

struct ForwardOptions {
  int64_t layers = -1;                 // run layers 0 .. layers - 1; -1: all
  std::vector<HeadRef> replacedHeads;  // whose output comes from `replacement`
  HeadReplacement replacement;
  /// Makes the maps that the replaced heads attend with, for the trace to own; empty: the trace shows the model's own.
  std::function<std::shared_ptr<const EffectiveMaps>(const Trace& trace)> effectiveMaps;
  uint64_t memoryBytes = 0;  // what weights may fill before they are streamed, see WeightStream (default: what is free)
};

/// The job's stage says which layer runs, and whether its weights come from disk because memory can't hold the model's. Throws Error when
/// the model lacks tensors the pass needs (all listed), the prompt is empty, an id is outside the vocabulary, or the prompt is longer than
/// learned positions allow; Cancelled when the job was cancelled.
std::shared_ptr<const Trace> runForward(std::shared_ptr<const Model> model, std::shared_ptr<const Prompt> prompt,
                                        std::shared_ptr<Backend> backend, const ForwardOptions& options, Job& job);

}  // namespace headscope::core
