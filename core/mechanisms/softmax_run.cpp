#include "core/mechanisms/softmax_run.h"

#include "core/mechanisms/softmax_elsewhere.h"

namespace headscope::core {
namespace {

/// Pairs below which a tile is sooner done here than brought to a device.
constexpr int64_t kFewPairs = int64_t{1} << 20;

}  // namespace

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

std::optional<Matrix> SoftmaxRun::tile(const TileRequest& request, Job& job) const {
  const DeviceForm form = deviceForm();
  if (!canChooseElsewhere(form.head) || (request.rows << request.level) * form.head.key.rows < kFewPairs) return std::nullopt;
  return tileElsewhere(form.head, form.rule, request, job);
}

std::optional<ChosenRows> SoftmaxRun::rowSums(const HeadInput& input, Job& job) const {
  const DeviceForm form = deviceForm();
  const SoftmaxHead& own = form.head;
  const bool isOwn = own.query.data == input.query.data && own.key.data == input.key.data && own.scale == input.scale &&
                     own.softcap == input.softcap && !own.bias;
  if (!isOwn || !canChooseElsewhere(own) || !isWithin(*own.mask, Visibility(input), job)) return std::nullopt;
  return chooseElsewhere(own, form.rule, {}, job);
}

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
