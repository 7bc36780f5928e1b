#pragma once
// Replacement: a whole model run with some heads under other mechanisms, and what that changes in its predictions.
//
//   ForwardOptions options = replacementFor(model, {{{3, 1}, parseMechanism("local:window=64")}});
//   auto changed = runForward(model, prompt, backend, options, job);
//   ModelChange change = compareOutputs(*trace, *changed, job);
#include <memory>
#include <vector>

#include "core/attention/forward.h"
#include "core/mechanisms/mechanism.h"

namespace headscope::core {

struct HeadChoice {
  HeadRef head;
  std::shared_ptr<const Mechanism> mechanism;
};

/// Options that replace these heads. backend: where their outputs are computed, when it is a device (default: the CPU). Keeps the model
/// alive and, while a layer runs, that layer's projections where a mechanism needs them. Heads of layers whose keys and values are reused
/// are added, under the model's own attention. Throws Error when a mechanism reads a layer that is not earlier.
ForwardOptions replacementFor(std::shared_ptr<const Model> model, const std::vector<HeadChoice>& choices,
                              std::shared_ptr<Backend> backend = nullptr);
/// The same mechanism for all of them.
ForwardOptions replacementFor(std::shared_ptr<const Model> model, const std::vector<HeadRef>& heads,
                              std::shared_ptr<const Mechanism> mechanism, std::shared_ptr<Backend> backend = nullptr);

/// How the changed model's predictions differ. Means over rows; NaN where the model predicts nothing of the kind.
struct ModelChange {
  double lossBefore = 0, loss = 0;  // next-token, nats
  double kl = 0;                    // KL(true || changed) of the output distribution, nats
  double topTenChange = 0;          // share of the true ten likeliest tokens that are not among the new ten
  double topOneChange = 0;          // share of rows whose likeliest token changed
};

/// Both traces of the same prompt and vocabulary. Streams blocks of 64 rows of logits.
ModelChange compareOutputs(const Trace& before, const Trace& after, Job& job);

}  // namespace headscope::core
