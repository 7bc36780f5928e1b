#pragma once
// InputStatistics: mean and covariance of what each layer's attention reads (the normed input, gain and bias in) over one or more
// prompts, accumulated trace by trace. Weights seen through it are what the head does on such text: W_Q becomes Sigma^(1/2) W_Q.
// Memory: d x d doubles a layer.
#include <cstdint>
#include <memory>
#include <vector>

#include "core/attention/trace.h"
#include "core/weights/dense.h"

namespace headscope::core {

class Job;

struct LayerInput {
  std::vector<double> mean;                      // [d]
  std::shared_ptr<const DoubleMatrix> triangle;  // R [d, d], R^T R = covariance about the mean
};

/// Of one layer on one prompt. Of few tokens beside the model's width nothing is squared, and the triangle's last rows are zero.
/// Throws Error: fewer than two tokens, a layer that did not run.
LayerInput layerInput(const Trace& trace, int64_t layer, Job& job);

class InputStatistics {
 public:
  /// Throws Error where a covariance a layer would take more than `limitBytes` (default: 8 GB) together.
  /// layers: of these only; empty: all.
  explicit InputStatistics(const Model& model, uint64_t limitBytes = uint64_t{8} << 30, const std::vector<int64_t>& layers = {});
  void add(const Trace& trace, Job& job);
  int64_t tokens() const { return tokens_; }
  /// Throws Error when fewer than two tokens were seen, and on a layer that was not asked for.
  LayerInput layer(int64_t index) const;

 private:
  int64_t width_ = 0, tokens_ = 0;
  std::vector<std::vector<double>> sums_;  // [layers][d]
  std::vector<DoubleMatrix> squares_;      // [layers], sum of x^T x, upper triangle
};

}  // namespace headscope::core
