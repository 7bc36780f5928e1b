#include "core/attention/forward_parts.h"

namespace headscope::core {

void feedForward(const PassContext& pass, const MlpWeights& weights, const Tensor& x, Into into, const Tensor& out, Scratch& scratch) {
  Backend& backend = pass.backend;
  const Tensor up = scratch.take(0, x.rows, weights.up.outputs());
  backend.linear(x, weights.up, Into::Replace, up, pass.job);
  if (weights.gate.empty()) {
    backend.activate(up, pass.spec.activation, pass.job);
  } else {
    const Tensor gate = scratch.take(1, x.rows, weights.gate.outputs());
    backend.linear(x, weights.gate, Into::Replace, gate, pass.job);
    backend.gate(up, gate, pass.spec.activation, pass.job);
  }
  backend.linear(up, weights.down, into, out, pass.job);
}

}  // namespace headscope::core
