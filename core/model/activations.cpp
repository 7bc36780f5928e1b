#include "core/model/activations.h"

#include <array>
#include <utility>

#include "core/base/printable.h"

namespace headscope::core {
namespace {

// gelu_new, gelu_fast, gelu_pytorch_tanh and their like are one formula written in several ways: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715
// x^3))).
constexpr std::array<std::pair<std::string_view, Activation>, 16> kNames = {{{"gelu", Activation::GeluErf},
                                                                             {"gelu_python", Activation::GeluErf},
                                                                             {"gelu_new", Activation::GeluTanh},
                                                                             {"gelu_fast", Activation::GeluTanh},
                                                                             {"gelu_accurate", Activation::GeluTanh},
                                                                             {"gelu_pytorch_tanh", Activation::GeluTanh},
                                                                             {"gelu_python_tanh", Activation::GeluTanh},
                                                                             {"gelu_tanh", Activation::GeluTanh},
                                                                             {"quick_gelu", Activation::GeluQuick},
                                                                             {"silu", Activation::Silu},
                                                                             {"swish", Activation::Silu},
                                                                             {"relu", Activation::Relu},
                                                                             {"relu2", Activation::ReluSquared},
                                                                             {"tanh", Activation::Tanh},
                                                                             {"sigmoid", Activation::Sigmoid},
                                                                             {"linear", Activation::Identity}}};

}  // namespace

Activation activationFromConfig(const ConfigReader& config, std::string_view key, std::string_view fallback) {
  const std::string name = config.text(key, fallback);
  std::string known;
  for (const auto& [spelling, activation] : kNames) {
    if (spelling == name) return activation;
    known += (known.empty() ? "" : ", ") + std::string(spelling);
  }
  throw config.fault(key, "activation \"" + printable(name, 60) + "\" is not supported", "known are " + known);
}

}  // namespace headscope::core
