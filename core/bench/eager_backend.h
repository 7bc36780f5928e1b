#pragma once
// EagerBackend: the naive way, for benches: whole matrices decoded before each product, whole N x N maps made, softmaxed entry
// by entry and kept, elementwise functions of the standard library. Same numbers as CpuBackend.
#include <vector>

#include "core/backend/cpu/cpu_backend.h"

namespace headscope::core {

class EagerBackend : public CpuBackend {
 public:
  std::string name() const override { return "eager"; }
  void linear(const Tensor& x, const Linear& weights, Into into, const Tensor& out, Job& job) override;
  void activate(const Tensor& x, Activation activation, Job& job) override;
  AttentionStatistics attention(const AttentionInput& input, const Tensor& out, Job& job) override;
  const std::vector<Matrix>& maps() const { return maps_; }  // [N, N] each

 private:
  std::vector<Matrix> maps_;
};

}  // namespace headscope::core
