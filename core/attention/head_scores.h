#pragma once
// HeadScores: scalars of every head's map on one prompt, by name, [L, H] each. What a researcher sorts heads by.
// Definitions (rows are queries i, N tokens; A one map; means over rows):
//   previous   A[i, i-1], i >= 1            self   A[i, i]            first   A[i, 0]
//   entropy    -sum_j A log2 A, bits        distance   sum_j A[i, j] |i - j|
//   induction  over rows that have a j < i with the same token and j + 1 <= i: sum over those j of A[i, j+1]; NaN without
//   duplicate  over rows that have a j < i with the same token: sum over those j of A[i, j]; NaN without
//   keys.P     smallest number of keys whose weights sum to at least P, P = 0.8, 0.9, 0.95, 0.99, 0.999
//   weighted_keys.P  the same with weights A[i, j] ||v_j W_O,h||, normalised by row
// Models that see both ways have self, first, entropy, distance and keys only. A head that ran under another mechanism is scored on the
// map that it used; where that is signed, entropy, distance and keys are NaN.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/attention/trace.h"

namespace headscope::core {

class HeadScores {
 public:
  int64_t layers() const { return layers_; }
  int64_t heads() const { return heads_; }
  const std::vector<std::string>& names() const { return names_; }  // in the order above
  bool has(const std::string& name) const { return values_.count(name) > 0; }
  double at(const std::string& name, HeadRef head) const;
  const std::vector<double>& values(const std::string& name) const;  // [L * H], layer-major

 private:
  friend HeadScores headScores(const Trace&, bool, Job&);
  /// The layer's scores of heads under other mechanisms, in place of those of the model's own attention. written [H, N]: for keys.
  void followEffectiveMaps(const Trace& trace, int64_t layer, const Matrix* written, Job& job);
  int64_t layers_ = 0, heads_ = 0;
  std::vector<std::string> names_;
  std::map<std::string, std::vector<double>> values_;
};

/// The shares P of keys.P, in order.
inline constexpr double kKeyShares[] = {0.8, 0.9, 0.95, 0.99, 0.999};
/// "0.8" ... "0.999".
std::string shareName(double share);

/// ||v_j W_O,h|| for every head and key of a layer, [H, N]: what each value would write at full weight.
Matrix writtenNorms(const Trace& trace, int64_t layer, Job& job);

/// Scores of all heads of the layers that were run. withKeys adds keys.P and weighted_keys.P, which need a selection in
/// every row (N^2 work a head); the others cost N a head, and the matching pairs for induction and duplicate.
HeadScores headScores(const Trace& trace, bool withKeys, Job& job);

}  // namespace headscope::core
