// The head's output is zero.
#include <algorithm>

#include "core/mechanisms/kinds.h"

namespace headscope::core {
namespace {

void clear(MatrixView m) {
  for (int64_t r = 0; r < m.rows; ++r) std::fill_n(m.row(r), m.cols, 0.0f);
}

class OffRun : public HeadRun {
 public:
  void output(MatrixView out, Job&) const override { clear(out); }
  void mapRows(int64_t, int64_t, MatrixView rows, Job&) const override { clear(rows); }
  Cost cost() const override {
    Cost cost;
    cost.formula = cost.heldFormula = "0";
    return cost;
  }
};

class OffMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isNormalised() const override { return false; }
  std::unique_ptr<HeadRun> bind(const HeadInput&, Job&) const override { return std::make_unique<OffRun>(); }
};

}  // namespace

MechanismKind offKind() {
  return {"off", "the head's output is zero", {}, [](const Arguments& a) { return std::make_unique<OffMechanism>(a); }};
}

}  // namespace headscope::core
