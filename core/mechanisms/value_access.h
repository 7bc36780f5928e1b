#pragma once
// Sparse V access: how many values a row really needs: the fewest keys whose weights reach a share of the row's mass, plain
// (A_ij) and weighted by what each value writes (A_ij ||v_j W_O||). For every row, not only the last. Streams blocks of rows;
// costs the head's map and a sort of each row.
#include <vector>

#include "core/mechanisms/mechanism.h"

namespace headscope::core {

struct ValueAccess {
  std::vector<double> shares;                     // asked: 0.8 .. 0.999
  std::vector<std::vector<int32_t>> plain;        // [share][row]
  std::vector<std::vector<int32_t>> weighted;     // [share][row]
  std::vector<float> sinkMass;                    // [row] mass on the first key
  std::vector<std::vector<int32_t>> withoutSink;  // [share][row]: plain, of the mass that is not on the first key
};

/// Mean, best (fewest) and worst of one share's counts; fractions are of the keys a row sees.
struct AccessSummary {
  double mean = 0, meanFraction = 0;
  int64_t best = 0, worst = 0;
  int64_t rows = 0;
};
AccessSummary summarise(const std::vector<int32_t>& counts, bool isCausal);
/// The summary of both together, weighted by their rows (several prompts, or all heads of a layer).
AccessSummary pooled(const AccessSummary& a, const AccessSummary& b);

/// outputWeight: W_O [v, d]. Empty: weighted by ||v_j||.
ValueAccess valueAccess(const HeadInput& input, ConstMatrixView outputWeight, std::vector<double> shares, Job& job);

}  // namespace headscope::core
