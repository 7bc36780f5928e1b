#pragma once
// Subspace: how much of a layer's residual stream its heads share, on the writing side (W_O) or a reading side (W_Q, W_K, W_V).
//
// Every head's matrix is divided by its largest singular value, the heads are stacked to S [H*k, d], and S is cut to rank r:
// W_O ~ W_OA [H*k, r] W_OB [r, d]. Errors are shares of the Frobenius norm: of the normalised stack (the best possible at r), and
// of the stored matrices projected on the same r directions. Parameters saved: 1 - r (Hk + d) / (Hk d), zero at the break-even rank.
// Source: shared-subspaces 2025. Under latent attention the reading sides are the up-projections, d the latent's width.
// Costs an eigendecomposition of the smaller of H*k and d, in double: seconds a layer at 4096, a minute at 7168. Each head's energy on a
// direction is of float32 products: right to 1e-6 of the head's norm.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/weights/head_weights.h"

namespace headscope::core {

class Backend;
class Job;
struct StackDirections;

enum class SubspaceSide { Output, Query, Key, Value };
const char* nameOf(SubspaceSide side);

/// The heads' matrices of one side, one below the other as they are stored. Borrows from the weights.
struct HeadStack {
  ConstMatrixView rows;  // [heads*k, width]
  int64_t heads = 0, perHead = 0;
};
HeadStack headStack(const HeadWeights& weights, SubspaceSide side);

struct SharedSubspace {
  int64_t layer = 0;
  SubspaceSide side = SubspaceSide::Output;
  int64_t heads = 0, stackRows = 0, width = 0;  // stackRows = H*k
  std::vector<double> sigma;                    // of the normalised stack [p], p = min(stackRows, width)
  std::vector<double> storedEnergy;             // [p] energy of the stored matrices on each direction, as shares of all
  std::vector<std::vector<double>> headEnergy;  // [heads][p] the same within each head
  std::vector<std::string> notes;               // zero and broken heads that were left out

  int64_t fullRank() const { return static_cast<int64_t>(sigma.size()); }
  double breakEven() const { return static_cast<double>(stackRows) * static_cast<double>(width) / static_cast<double>(stackRows + width); }
  double parametersSaved(int64_t rank) const;
  /// Relative Frobenius errors at every rank 0 .. fullRank(): [p + 1].
  std::vector<double> errors() const;
  std::vector<double> storedErrors() const;
  /// One head's relative error at `rank`.
  double headError(int64_t head, int64_t rank) const;
};

/// Throws Error as headWeights; Cancelled within some tens of milliseconds. progress: told the share of the time that is done.
/// backend: a device that decomposes the stack; then there is no progress to tell.
SharedSubspace sharedSubspace(const HeadWeights& weights, SubspaceSide side, const Job& job,
                              const std::function<void(double)>& progress = {}, Backend* backend = nullptr);

/// Of a stack of finite numbers, its heads perHead rows each: what takes the time.
StackDirections stackDirections(ConstMatrixView stack, int64_t perHead, const Job& job, const std::function<void(double)>& progress = {});

}  // namespace headscope::core
