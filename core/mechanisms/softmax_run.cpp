#include "core/mechanisms/softmax_run.h"

namespace headscope::core {

SoftmaxRun::SoftmaxRun(SoftmaxHead head, std::vector<std::string> notes, std::string formula, Owned owned)
    : owned_(std::move(owned)), head_(std::move(head)), notes_(std::move(notes)), formula_(std::move(formula)) {
  if (owned_.query.size() > 0) head_.query = owned_.query;
  if (owned_.key.size() > 0) head_.key = owned_.key;
}

void SoftmaxRun::output(MatrixView out, Job& job) const {
  SoftmaxTally tally = softmaxAttention(head_, out, job);
  const std::lock_guard lock(mutex_);
  tally_ = std::move(tally);
}

void SoftmaxRun::mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const { softmaxRows(head_, first, count, rows, job); }

Cost SoftmaxRun::cost() const {
  const std::lock_guard lock(mutex_);
  const int64_t k = head_.key.cols, v = head_.value.cols;
  Cost cost;
  cost.operations = tally_.operations(k, v);
  cost.bytesMoved = tally_.bytesMoved(k, v);
  cost.bytesHeld = softmaxBytesHeld(head_.key.rows, k, v);
  cost.pairs = tally_.pairs;
  cost.keptPairs = tally_.keptPairs;
  cost.formula = formula_;
  cost.heldFormula = "4 (64 * 256 + 256 (k + v) + 128 + 3 N)";
  return cost;
}

std::vector<int64_t> SoftmaxRun::emptyRows() const {
  const std::lock_guard lock(mutex_);
  return tally_.emptyRows;
}

std::vector<std::string> causalityNotes(bool isCausalMechanism, const HeadInput& input) {
  if (isCausalMechanism || !input.isCausal) return {};
  return {"not causal: sees later tokens, which this model never does"};
}

}  // namespace headscope::core
