#pragma once
// Comparison: one head under many mechanisms: errors, cost, measured time, and for random ones the spread over seeds.
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/mechanism.h"

namespace headscope::core {

struct MechanismResult {
  std::string mechanism;  // as spelled
  HeadErrors errors;      // of the first seed; means over seeds where there are several
  Cost cost;
  double seconds = 0;  // of output(), on the pool
  int64_t seeds = 1;
  double outputSpread = 0;  // standard deviation of the output error over seeds; 0 for one
  bool isCausal = true, isNormalised = true;
  std::vector<std::string> notes;
  std::string refusal;  // why it can't stand in for this head; the rest is then empty
};

struct ComparisonOptions {
  ErrorOptions errors;
  int64_t seeds = 1;       // of random mechanisms
  bool keepsRows = false;  // row measures kept, else only means
};

/// Results in the order of the mechanisms. A mechanism that refuses the head yields its reason; other faults are thrown.
std::vector<MechanismResult> compareMechanisms(const HeadInput& input, ConstMatrixView outputWeight,
                                               std::span<const std::shared_ptr<const Mechanism>> mechanisms,
                                               const ComparisonOptions& options, Job& job);

/// The same mechanism with another seed. Throws Error when it takes none.
std::shared_ptr<const Mechanism> withSeed(const Mechanism& mechanism, uint64_t seed);

}  // namespace headscope::core
