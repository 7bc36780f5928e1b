#pragma once
// HeadErrors: how far a mechanism is from the true head on the same Q, K, V, row by row and for the whole output.
//
// Per row (NaN: undefined there): mass kept, the share of the true mass on keys that the mechanism looks at; KL(Ahat_i || A_i)
// in nats, undefined for rows that are signed or don't sum to 1 and where the mechanism looks at keys that the model hides;
// cosine of the rows; Spearman's rank correlation over the keys that the model lets the row see.
// Output: ||(out - out_dense) W_O||_F / ||out_dense W_O||_F. Streams blocks of 64 rows: 64 N floats a mechanism, no N x N.
#include <span>
#include <vector>

#include "core/mechanisms/mechanism.h"

namespace headscope::core {

struct HeadErrors {
  std::vector<float> massKept, kl, cosine, rankCorrelation;  // [N]
  std::vector<int64_t> emptyRows;                            // nothing to attend to: the output row is zero
  double output = 0;
  // Means over the rows where defined; NaN where that is less than half of them.
  double meanMassKept = 0, meanKl = 0, meanCosine = 0, meanRankCorrelation = 0;
  double rootMeanSquareOutput = 0;  // of out W_O, beside it the true head's, to see which part of the stream is meant
};

struct ErrorOptions {
  bool hasRows = true;             // map rows too: N^2 work a mechanism; otherwise only the output error
  bool hasRankCorrelation = true;  // a sort of each row
};

/// Errors of several runs on one head, sharing the true head's rows. outputWeight: W_O [v, d], rows are what the head writes;
/// empty: the output error is taken on out itself. A run whose output is refused throws its Error.
std::vector<HeadErrors> headErrors(const HeadInput& input, std::span<const HeadRun* const> runs, ConstMatrixView outputWeight,
                                   const ErrorOptions& options, Job& job);

/// Spearman's rank correlation with tied ranks averaged; NaN when one side is constant or there are fewer than two.
double rankCorrelation(std::span<const float> a, std::span<const float> b);

/// ||difference W||_F and the like without forming it: sqrt(sum (x G) . x), G = W W^T [v, v] in double.
class WrittenNorm {
 public:
  /// Empty weight: the plain norm.
  explicit WrittenNorm(ConstMatrixView outputWeight);
  double squared(const float* row, int64_t width) const;

 private:
  std::vector<double> gram_;  // [v, v]
  int64_t width_ = 0;
};

}  // namespace headscope::core
