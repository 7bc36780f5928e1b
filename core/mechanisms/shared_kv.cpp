// Shared keys and values (clankur/muGPT) as a what-if: W_V stays and serves as W_K, so k = RoPE(v) and the cache is half.
#include "core/base/error.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/rotation.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::core {
namespace {

class SharedKvMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    if (input.value.cols != input.key.cols) {
      throw Error("values are " + std::to_string(input.value.cols) + " wide and keys " + std::to_string(input.key.cols) +
                      ", so one can't serve as the other",
                  "mechanism shared_kv");
    }
    const RopeSpec none{};
    Matrix key = rotated(input.value, input.rope != nullptr ? *input.rope : none, input.ropeFirst);
    return std::make_unique<SoftmaxRun>(SoftmaxHead::of(input, std::make_shared<PatternMask>(Visibility(input), nullptr)),
                                        std::vector<std::string>{"a what-if: the checkpoint was trained with keys of its own"},
                                        "P (2 k + 2 v + 4) + N v, P visible pairs", SoftmaxRun::Owned{Matrix(), std::move(key)});
  }
};

}  // namespace

MechanismKind sharedKvKind() {
  return {"shared_kv", "values serve as keys too, k = RoPE(v): half the cache", {}, [](const Arguments& a) {
            return std::make_unique<SharedKvMechanism>(a);
          }};
}

}  // namespace headscope::core
