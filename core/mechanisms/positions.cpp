#include "core/mechanisms/positions.h"

#include <cmath>

#include "core/base/error.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/rotation.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::core {
namespace {

constexpr const char* kFormula = "P (2 k + 2 v + 4) + N v, P visible pairs";

class LinearBias : public ScoreBias {
 public:
  explicit LinearBias(double slope) : slope_(static_cast<float>(slope)) {}
  void add(int64_t row, const int32_t* columns, int64_t count, float* scores) const override {
    for (int64_t c = 0; c < count; ++c) scores[c] -= slope_ * static_cast<float>(std::abs(row - columns[c]));
  }
  std::optional<double> slope() const override { return slope_; }

 private:
  float slope_;
};

std::vector<std::string> positionNotes(const HeadInput& input) {
  std::vector<std::string> notes{"a what-if: the checkpoint was trained with other positions"};
  if (input.rope == nullptr) notes.push_back("this model has no rotation to take off; learned positions stay in Q and K");
  return notes;
}

std::unique_ptr<HeadRun> runOf(const HeadInput& input, Unplaced placed, std::shared_ptr<const ScoreBias> bias,
                               std::vector<std::string> notes) {
  SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(Visibility(input), nullptr));
  head.bias = std::move(bias);
  return std::make_unique<SoftmaxRun>(std::move(head), std::move(notes), kFormula,
                                      SoftmaxRun::Owned{std::move(placed.query), std::move(placed.key)});
}

class NopeMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    return runOf(input, withoutRotation(input), nullptr, positionNotes(input));
  }
};

class AlibiMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    return runOf(input, withoutRotation(input), std::make_shared<LinearBias>(alibiSlope(input.head, input.heads)), positionNotes(input));
  }
};

class RopeMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    RopeSpec rope = input.rope != nullptr ? *input.rope : RopeSpec{};
    const int64_t first = input.rope != nullptr ? input.ropeFirst : 0;
    if (input.rope == nullptr) {
      rope.dims = input.query.cols / 2 * 2;
      rope.frequencies.assign(static_cast<size_t>(rope.dims / 2), 0.0);
    }
    const double base = arguments().real("base"), scaling = arguments().real("scaling");
    if (base > 0 || input.rope == nullptr) {
      for (size_t i = 0; i < rope.frequencies.size(); ++i) {
        rope.frequencies[i] = std::pow(base > 0 ? base : 10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dims));
      }
    }
    for (double& f : rope.frequencies) f /= scaling;
    Unplaced plain = withoutRotation(input);
    Unplaced placed{rotated(plain.query, rope, first), rotated(plain.key, rope, first)};
    return runOf(input, std::move(placed), nullptr, positionNotes(input));
  }
};

}  // namespace

double alibiSlope(int64_t head, int64_t heads) {
  int64_t power = 1;
  while (power * 2 <= heads) power *= 2;
  const auto slope = [](int64_t index, int64_t of) {
    return std::pow(2.0, -8.0 * static_cast<double>(index + 1) / static_cast<double>(of));
  };
  return head < power ? slope(head, power) : slope(2 * (head - power), 2 * power);
}

Unplaced withoutRotation(const HeadInput& input) {
  const RopeSpec none{};
  const RopeSpec& rope = input.rope != nullptr ? *input.rope : none;
  return {unrotated(input.query, rope, input.ropeFirst), unrotated(input.key, rope, input.ropeFirst)};
}

std::vector<MechanismKind> positionKinds() {
  return {{"rope",
           "the same Q and K under another rotation",
           {Parameter::real("base", 0.0, 0.0, 1e12, "of theta_i = base^(-2i/k); 0: the model's own frequencies"),
            Parameter::real("scaling", 1.0, 1e-3, 1e6, "positions are divided by it (position interpolation)")},
           [](const Arguments& a) { return std::make_unique<RopeMechanism>(a); }},
          {"alibi",
           "no rotation, a penalty that grows with distance (Press 2022)",
           {},
           [](const Arguments& a) { return std::make_unique<AlibiMechanism>(a); }},
          {"nope", "no positions at all", {}, [](const Arguments& a) { return std::make_unique<NopeMechanism>(a); }}};
}

}  // namespace headscope::core
