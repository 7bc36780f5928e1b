#pragma once
// LoraSide: what an adapter does to one of W_Q, W_K, W_V, W_O of a layer, head by head, in inner products only.
//
// A head's factor F [k, d] (rows W_Q^T, W_K^T, W_V^T, W_O) becomes F + C D: for plain LoRA D [r, d] is shared by the heads (A for
// q, k, v; B^T for o) and C [k, r] is the head's own (rows of B; columns of A). With DoRA's row scales, saved modules or changed
// head norms the merged rows are the truth: then C is the identity and D the head's own difference [k, d].
#include <memory>
#include <string>
#include <vector>

#include "core/weights/dense.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/head_weights.h"

namespace headscope::core {

class Job;

/// One head of one side. G = F F^T of the base, after = of the changed factor.
struct HeadSide {
  ConstMatrixView base;        // F [k, d]
  ConstMatrixView directions;  // D [r, d]
  DoubleMatrix coefficients;   // C [k, r]
  DoubleMatrix gram;           // F F^T [k, k]
  DoubleMatrix after;          // (F + C D)(F + C D)^T [k, k]
  DoubleMatrix cross;          // D F^T [r, k]
  DoubleMatrix directionGram;  // D D^T [r, r]
  FactorCore core, coreAfter;

  int64_t rank() const { return directions.rows; }
  bool isChanged() const { return rank() > 0; }
  double squaredChange() const;         // ||C D||^2
  DoubleMatrix afterTimesBase() const;  // (F + C D) F^T [k, k]
};

class LoraSide {
 public:
  enum class Kind { Query, Key, Value, Output };
  LoraSide(Kind kind, const HeadWeights& base, const HeadWeights& adapted, const AttentionWeights& before, const AttentionWeights& after,
           const Job& job);

  int64_t heads() const { return static_cast<int64_t>(heads_.size()); }
  const HeadSide& head(int64_t index) const { return heads_[static_cast<size_t>(index)]; }
  bool isChanged() const { return isChanged_; }
  bool isMerged() const { return isMerged_; }
  double squaredChange() const;  // of all heads

 private:
  void useFactors(const LinearChange& change, const std::vector<float>& gain, bool isOutput);
  void useDifference(const Matrix& base, const Matrix& adapted);
  int64_t width_ = 0;  // k
  bool isChanged_ = false, isMerged_ = false;
  Matrix directions_;    // shared D [r, d], or all heads' differences [heads*k, d]
  Matrix coefficients_;  // [heads*k, r]
  std::vector<HeadSide> heads_;
};

}  // namespace headscope::core
