#pragma once
// Runs every operation of a Backend on the table of cases (op_cases.h) and compares it with the naive loops (naive_ops.h).
// Serves the CPU's tests and a GPU's check alike; knows no test framework.
#include <string>
#include <vector>

#include "core/backend/backend.h"
#include "tests/support/op_cases.h"

namespace headscope::tests {

struct OpCheck {
  core::Op op;
  std::string name;       // operation and case
  double difference = 0;  // largest, relative to `scale`
  double tolerance = 0;
  bool isFinite = true;     // every number is
  bool isMaskExact = true;  // masked entries are exactly 0
  bool holds() const { return isFinite && isMaskExact && difference <= tolerance; }
};

/// All cases of all operations that the backend supports.
std::vector<OpCheck> checkRowOps(core::Backend& backend);
std::vector<OpCheck> checkLinear(core::Backend& backend);
std::vector<OpCheck> checkAttention(core::Backend& backend);
std::vector<OpCheck> checkMaps(core::Backend& backend);
std::vector<OpCheck> checkWeights(core::Backend& backend);
std::vector<OpCheck> checkMasks(core::Backend& backend);
std::vector<OpCheck> checkAllOps(core::Backend& backend);

/// A case's mask as ranges, and what attention under it is, by a double loop: out [queries, v], minus infinity where a row sees nothing.
core::RangeList seenKeys(const MaskCase& c);
struct NaiveMasked {
  std::vector<double> out, logSumExp;
};
NaiveMasked naiveMasked(const core::MaskedHead& head, const MaskCase& c);

}  // namespace headscope::tests
