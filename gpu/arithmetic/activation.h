#pragma once
// Activation functions, as the model families name them.
#include <cmath>

#include "core/model/model_spec.h"
#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

HEADSCOPE_HD float activated(core::Activation activation, float x) {
  switch (activation) {
    case core::Activation::GeluErf:
      return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    case core::Activation::GeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case core::Activation::GeluQuick:
      return x / (1.0f + expf(-1.702f * x));
    case core::Activation::Silu:
      return x / (1.0f + expf(-x));
    case core::Activation::Relu:
      return x > 0.0f ? x : (x == x ? 0.0f : x);
    case core::Activation::ReluSquared:
      return x > 0.0f ? x * x : (x == x ? 0.0f : x);
    case core::Activation::Tanh:
      return tanhf(x);
    case core::Activation::Sigmoid:
      return 1.0f / (1.0f + expf(-x));
    case core::Activation::Identity:
      return x;
  }
  return x;
}

}  // namespace headscope::gpu
