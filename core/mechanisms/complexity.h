#pragma once
// Complexity: measured time, counted operations and held bytes of mechanisms against N, on one random head.
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/mechanisms/mechanism.h"

namespace headscope::core {

struct ComplexityPoint {
  std::string mechanism;
  int64_t size = 0;             // N
  double seconds = 0;           // the best of the repetitions
  double processorSeconds = 0;  // of all threads, likewise: what does not depend on who else uses the machine
  Cost cost;
  std::string refusal;                                      // why it was not run
  double error = std::numeric_limits<double>::quiet_NaN();  // of the output against softmax; only where measureTable asked
};

struct ComplexityOptions {
  std::vector<int64_t> sizes{512, 1024, 2048, 4096, 8192};
  int64_t width = 64;  // k = v, d of the residual stream for DenseAttention
  bool isCausal = true;
  int repetitions = 3;
  double secondsLimit = 20;  // a mechanism whose last size took longer is not run on larger ones
};

/// Points by mechanism, then size. Reports progress; cancellable between and inside runs.
std::vector<ComplexityPoint> measureComplexity(std::span<const std::shared_ptr<const Mechanism>> mechanisms,
                                               const ComplexityOptions& options, Job& job);

/// The table of the linear-attention source, measured: N = 1,024, width 32: softmax first, then each mechanism's time,
/// operations, bytes held and output error on the same random head.
std::vector<ComplexityPoint> measureTable(Job& job);
inline constexpr int64_t kTableSize = 1024, kTableWidth = 32;

/// How time grows by the formula: "N^2", "N w", "N"; "" unknown.
std::string timeOrder(const std::string& spelled);

/// Slope of log processor seconds (or bytes) against log N over the points of one mechanism: 1 is linear, 2 quadratic. NaN below two
/// points.
double growth(std::span<const ComplexityPoint> points, bool ofBytes);

/// What `complexity` shows without being told.
inline constexpr const char* kComplexityMechanisms =
    "causal;local:window=256;linear;performer:features=128;linformer:rank=64;nystrom:landmarks=64;dense_attention:order=linear;"
    "dense_attention:order=quadratic";

}  // namespace headscope::core
