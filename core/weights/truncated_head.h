#pragma once
// TruncatedHead: one head of a traced prompt with its W_QK and W_OV cut to rank r: the map and output that it would have, and how
// far they are from the true ones. Nothing d x d is formed: a truncation is a k x k matrix on the head's queries or values.
//
// W_OV: the best rank-r approximation of the fused matrix (its top r singular triplets).
// W_QK without rotary positions: the same. With them W_QK(Delta) = W_Q R(Delta) W_K^T differs from offset to offset, so that no one
// matrix can be cut; what is cut is the query's reading: W_Q is projected on the r directions of the residual stream that keep
// most of ||W_QK(Delta)||^2, averaged over the offsets of the prompt's visible pairs. W_QK(Delta) then has rank r or less at every
// offset, the rotation stays exact, and with the one offset 0 this is the usual truncation. Under latent attention the query's
// latent is read, the keys' side being the latent's and the rotary part's together; W_OV is cut in latent coordinates.
// Only what depends on the token is cut: biases (and a norm's bias through folded weights) stay as they are.
// Costs: decoding the layer, k x k decompositions, k^2 operations an offset; each run one more head's attention.
#include <memory>
#include <string>
#include <vector>

#include "core/mechanisms/head_errors.h"
#include "core/mechanisms/mechanism.h"
#include "core/weights/dense.h"
#include "core/weights/words.h"

namespace headscope::core {

class TruncatedHead {
 public:
  /// Throws Error: missing tensors, NaN or infinite weights in the head, a layer that the trace did not run; Cancelled.
  TruncatedHead(std::shared_ptr<const Trace> trace, HeadRef head, Fold fold, Job& job);

  int64_t fullRank(Circuit circuit) const { return static_cast<int64_t>(cutOf(circuit).sigma.size()); }  // k
  /// Singular values of W_OV; of W_QK, under rotary positions the root mean square over the offsets, on the chosen directions.
  const std::vector<double>& sigma(Circuit circuit) const { return cutOf(circuit).sigma; }
  /// Relative Frobenius error of the weights at rank 0 .. fullRank(): [k + 1].
  std::vector<double> weightErrors(Circuit circuit) const;

  /// The head with both circuits cut (fullRank: left as it is; 0: scores are 0 but for biases, or the output is what biases write).
  /// Map rows and output as any mechanism's. Borrows from this. Throws Error on a rank below 0; above the full one means the full.
  std::unique_ptr<HeadRun> run(int64_t queryKeyRank, int64_t valueOutputRank) const;
  /// Of such a run against the true head: rows of the map, output through W_O.
  HeadErrors errors(const HeadRun& run, const ErrorOptions& options, Job& job) const;
  /// The true head: run(fullRank, fullRank) without rounding.
  const HeadInput& input() const { return input_; }
  /// What was cut, as one sentence for a caption.
  std::string definition(Circuit circuit) const;

 private:
  /// x W = x L^T becomes constant + (x L^T - constant) M, M = sum of the first r of right_i left_i^T.
  struct Cut {
    std::vector<double> sigma;     // [k]
    DoubleMatrix right, left;      // [p, k] each
    std::vector<double> constant;  // [k] what of the query or value does not depend on the token; empty: nothing
  };
  const Cut& cutOf(Circuit circuit) const { return circuit == Circuit::QK ? query_ : value_; }
  static Cut cutFor(const DoubleMatrix& gram, const DoubleMatrix& otherGram);
  Matrix cutRows(const Cut& cut, ConstMatrixView rows, int64_t rank) const;

  std::shared_ptr<const Trace> trace_;
  HeadRef head_;
  HeadInput input_;
  Matrix output_;     // W_O [v, d]
  Matrix unrotated_;  // queries before the rotation [N, k]; empty without one
  Cut query_, value_;
};

/// Mean over the offsets of the visible pairs of a prompt of R(Delta) G R(Delta)^T, G = W_K^T's Gram matrix [k, k]: what a query
/// meets on the key side. `first` as in HeadInput::ropeFirst. N k^2 operations.
DoubleMatrix meanRotatedGram(const DoubleMatrix& gram, const RopeSpec& rope, int64_t first, const HeadInput& input, const Job& job);

}  // namespace headscope::core
