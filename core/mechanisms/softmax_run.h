#pragma once
// SoftmaxRun: a HeadRun that is softmax attention on some Q, K, V under some mask and bias: every mask, and every what-if
// that only exchanges Q, K or V (positions, shared and reused keys).
#include <mutex>

#include "core/mechanisms/softmax_attention.h"

namespace headscope::core {

class SoftmaxRun : public HeadRun {
 public:
  /// What stands in for the head's own matrices; kept alive by the run.
  struct Owned {
    Matrix query, key;  // [N, k]; empty: not replaced
  };
  SoftmaxRun(SoftmaxHead head, std::vector<std::string> notes, std::string formula, Owned owned = {});

  void output(MatrixView out, Job& job) const override;
  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override;
  std::optional<Matrix> tile(const TileRequest& request, Job& job) const override;
  std::optional<ChosenRows> rowSums(const HeadInput& input, Job& job) const override;
  Cost cost() const override;
  std::vector<int64_t> emptyRows() const override;
  std::vector<std::string> notes() const override { return notes_; }
  const SoftmaxHead& head() const { return head_; }

 protected:
  /// How a device is told of it: the head with the mask that no score decides, and the choice of keys by score.
  struct DeviceForm {
    SoftmaxHead head;
    KeyChoice rule;
  };
  virtual DeviceForm deviceForm() const { return {head_, {}}; }

 private:
  Owned owned_;
  SoftmaxHead head_;
  std::vector<std::string> notes_;
  std::string formula_;
  mutable std::mutex mutex_;
  mutable SoftmaxTally tally_;
};

/// "not causal: sees later tokens" where that is so and the model is causal; empty otherwise.
std::vector<std::string> causalityNotes(bool isCausalMechanism, const HeadInput& input);

}  // namespace headscope::core
