#pragma once
// LoraSide: what an adapter does to one of W_Q, W_K, W_V, W_O of a layer, head by head, in inner products only.
//
// A head's factor F [k, d] (rows W_Q^T, W_K^T, W_V^T, W_O) becomes F + C D: for plain LoRA D [r, d] is shared by the heads (A for
// q, k, v; B^T for o) and C [k, r] is the head's own (rows of B; columns of A). With DoRA's row scales, saved modules or changed
// head norms the merged rows are the truth: then C is the identity and D the head's own difference [k, d].
// Under latent attention a factor is a product E T (up- and down-projection), and both may change: by the product rule
// (E + dE)(T + dT) = E T + dE T + (E + dE) dT, again C D with a D that the heads share: A_up T and A_down.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/weights/dense.h"
#include "core/weights/factored_matrix.h"
#include "core/weights/head_weights.h"

namespace headscope::core {

class Backend;
class Job;

/// One head of one side. The makers fill in all but what finish() works out; it takes `gram` into the core.
struct HeadSide {
  int64_t width = 0, depth = 0;  // k, d
  DoubleMatrix coefficients;     // C [k, r]; [k, 0] when nothing changed
  DoubleMatrix gram;             // F F^T [k, k]; empty once finished
  DoubleMatrix cross;            // D F^T [r, k]
  DoubleMatrix directionGram;    // D D^T [r, r]
  FactorCore core;               // of F, as changedCore without its triangle (gramCore)
  FactorCore changedCore;        // of F + C D; empty when nothing changed
  double squaredChange = 0;      // ||C D||^2

  int64_t rank() const { return coefficients.cols; }
  bool isChanged() const { return rank() > 0; }
  const FactorCore& coreAfter() const { return isChanged() ? changedCore : core; }
  DoubleMatrix afterTimesBase() const;  // (F + C D) F^T [k, k]
  /// M F in place of F, M [k, k]: a rotation of the inner dimensions.
  HeadSide turned(const DoubleMatrix& m) const;
  /// The cores and the squared change, from the rest.
  void finish();
};

/// The matrices themselves, for the Householder route: F [k, d] and D [r, d].
struct HeadStacks {
  DoubleMatrix base, directions;
};

/// Both models' views of one layer: an adapter's factors are decoded once for the four sides.
struct LoraMaps {
  AttentionWeights before, after;
  ModelSpec spec;
};

class LoraSide {
 public:
  enum class Kind { Query, Key, Value, Output };
  /// Throws Error as headWeights. backend: takes the inner products of the heads' rows; null: here.
  LoraSide(Kind kind, std::shared_ptr<const LoraMaps> maps, const Job& job, Backend* backend = nullptr);
  LoraSide(LoraSide&&) = default;

  int64_t heads() const { return static_cast<int64_t>(heads_.size()); }
  const HeadSide& head(int64_t index) const { return heads_[static_cast<size_t>(index)]; }
  HeadStacks stacks(int64_t head) const { return stacksOf_(head); }
  bool isChanged() const { return isChanged_; }
  double squaredChange() const;  // of all heads

 private:
  void readStored(Kind kind, std::shared_ptr<const LoraMaps> maps, const Job& job, Backend* backend);
  bool isChanged_ = false;
  std::vector<HeadSide> heads_;
  std::function<HeadStacks(int64_t)> stacksOf_;
};

/// What LoraSide does where a factor is a product (lora_latent.cpp).
struct LatentSide {
  bool isChanged = false;
  std::vector<HeadSide> heads;  // not finished
  std::function<HeadStacks(int64_t)> stacksOf;
};
LatentSide latentSide(LoraSide::Kind kind, std::shared_ptr<const LoraMaps> maps, const Job& job, Backend* backend);

/// All terms of a change one below the other: down [r, in], up [out, r]. Empty where there is none.
struct StackedTerms {
  Matrix down, up;
};
StackedTerms stackTerms(const LinearChange* change);

}  // namespace headscope::core
