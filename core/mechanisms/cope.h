#pragma once
// CoPE (Golovneva 2024): positions counted by gates. g_ij = sigmoid(q_i.k_j scale), p_ij = sum of g_it over t = j..i, clipped to
// p_max - 1; logit q_i.k_j scale + q_i.e[p_ij], e interpolated linearly. The table e is trained: a checkpoint without it gives
// gates and positions, and its output is refused. Q and K come before rotation. Causal only.
#include <memory>

#include "core/mechanisms/mechanism.h"

namespace headscope::core {

class CopeRun : public HeadRun {
 public:
  /// table: e [p_max, k], or empty.
  CopeRun(const HeadInput& input, Matrix table);
  void output(MatrixView out, Job& job) const override;
  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override;
  Cost cost() const override;
  std::vector<std::string> notes() const override;

  /// Gates g [count, N] of rows [first, first + count); 0 where hidden.
  void gates(int64_t first, int64_t count, MatrixView rows, Job& job) const;
  /// Counted positions p [count, N], clipped where there is a table; 0 where hidden.
  void positions(int64_t first, int64_t count, MatrixView rows, Job& job) const;

 private:
  void requireTable() const;
  void scores(int64_t first, int64_t count, MatrixView rows, double& operations) const;
  Matrix query_, key_;  // [N, k], before rotation
  ConstMatrixView value_;
  double scale_;
  int64_t window_;
  bool hasRotation_;
  Matrix table_;
  mutable double operations_ = 0;
};

}  // namespace headscope::core
