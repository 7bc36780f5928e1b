// Cross-layer reuse as a what-if: this layer's queries read an earlier layer's keys and values.
#include "core/base/error.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::core {
namespace {

class ReuseMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  int64_t readsLayer(int64_t layer) const override {
    const int64_t asked = arguments().integer("from");
    return asked < 0 ? layer - 1 : asked;
  }
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    const int64_t from = readsLayer(input.layer);
    const std::string here = "layer " + std::to_string(input.layer);
    if (from < 0) throw Error(here + " has no earlier layer to read", "mechanism reuse");
    if (from >= input.layer)
      throw Error("layer " + std::to_string(from) + " is not before " + here, "mechanism reuse", "from takes an earlier layer");
    if (!input.keyValueOf) throw Error("other layers' keys and values are not at hand", "mechanism reuse");
    const KeyValue other = input.keyValueOf(from);
    if (other.key.cols != input.query.cols || other.value.cols != input.value.cols)
      throw Error("layer " + std::to_string(from) + " has other widths", "mechanism reuse");
    SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(Visibility(input), nullptr));
    head.key = other.key;
    head.value = other.value;
    return std::make_unique<SoftmaxRun>(std::move(head),
                                        std::vector<std::string>{"a what-if: reads keys and values of layer " + std::to_string(from)},
                                        "P (2 k + 2 v + 4) + N v, P visible pairs");
  }
};

}  // namespace

MechanismKind reuseKind() {
  return {"reuse",
          "keys and values of an earlier layer",
          {Parameter::integer("from", -1, -1, 1 << 16, "the layer that is read; -1: the one before")},
          [](const Arguments& a) { return std::make_unique<ReuseMechanism>(a); }};
}

}  // namespace headscope::core
