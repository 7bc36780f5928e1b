#pragma once
// BlockKrylov: an orthonormal basis of the span of X, A X, A^2 X, ... for a symmetric operator A that is only applied, and A seen in that
// basis. Its Ritz pairs are A's eigenpairs as far as their residuals are small. Grown step by step, so that a caller stops when what it
// asks is settled. Costs a product a step and 4 used rows n for orthogonality.
#include <cstdint>
#include <functional>
#include <vector>

#include "core/weights/dense.h"

namespace headscope::core {

class BlockKrylov {
 public:
  /// [b, n] -> [b, n], symmetric.
  using Operator = std::function<DoubleMatrix(const DoubleMatrix&)>;
  /// start [b, n]: orthonormal rows, the basis' first; at most `most` rows are kept.
  BlockKrylov(Operator apply, DoubleMatrix start, int64_t most);

  /// One more product. False when the space can't grow: it is invariant under A (isInvariant) or full.
  bool step();
  int64_t steps() const { return steps_; }
  int64_t used() const { return used_; }  // rows of the basis whose images are known
  bool isInvariant() const { return isInvariant_; }

  /// A in the basis [used, used].
  DoubleMatrix projected() const;
  /// Rows of the basis combined: turns [m, used] -> [m, n].
  DoubleMatrix combine(const DoubleMatrix& turns) const;
  /// Norms of A y - value y of combined rows y.
  std::vector<double> residuals(const DoubleMatrix& turns, const std::vector<double>& values) const;

 private:
  DoubleMatrix nextBlock(DoubleMatrix image) const;
  Operator apply_;
  DoubleMatrix block_;           // [b, n] whose product is next
  DoubleMatrix basis_, images_;  // [used, n]
  DoubleMatrix small_;           // [most, most], the first used_ rows and columns
  int64_t steps_ = 0, used_ = 0;
  bool isInvariant_ = false;
};

}  // namespace headscope::core
