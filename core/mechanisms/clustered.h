#pragma once
// Clustered keys (after clankur/sparsev): k-means centres of a head's keys, or of its queries, after positions; every query
// visits the clusters with the largest q.c among those that hold a key it may see, and attends to their keys only. Centres may
// be fitted on one text and used on another. Keys belong to their nearest centre; under query centres to the one with the
// largest k.c.
#include <memory>
#include <vector>

#include "core/mechanisms/mask.h"

namespace headscope::core {

enum class ClusterOn { Keys, Queries };

/// Centres [clusters, k] of rows [N, k]: k-means++ start, Lloyd's steps until nothing moves (at most 50). clusters is cut to N.
Matrix fitCentres(ConstMatrixView rows, int64_t clusters, uint64_t seed, Job& job);

class ClusterMask : public Mask {
 public:
  /// Borrows the input's queries.
  ClusterMask(const HeadInput& input, Matrix centres, int64_t visit, ClusterOn on);
  void ranges(int64_t row, std::vector<KeyRange>& out) const override;
  double selectionOperations(int64_t row) const override;
  int64_t clusters() const { return centres_.rows(); }
  const Matrix& centres() const { return centres_; }
  int32_t clusterOf(int64_t key) const { return owner_[static_cast<size_t>(key)]; }
  /// Clusters that hold a key the row may see, best first.
  std::vector<int32_t> order(int64_t row) const;
  /// The same from the products of the row's query with all centres.
  std::vector<int32_t> order(int64_t row, const float* products) const;
  const std::vector<int32_t>& members(int64_t cluster) const { return members_[static_cast<size_t>(cluster)]; }  // ascending
  int64_t visit() const { return visit_; }
  KeyRange visible(int64_t row) const { return visibility_.row(row); }

 private:
  ConstMatrixView query_;
  Matrix centres_;  // [clusters, k]
  int64_t visit_;
  Visibility visibility_;
  std::vector<int32_t> owner_;                 // [N]
  std::vector<std::vector<int32_t>> members_;  // keys of each cluster, ascending
};

std::unique_ptr<HeadRun> clusteredRun(const HeadInput& input, Matrix centres, int64_t visit, ClusterOn on);

/// Means over rows when `visit` clusters are visited.
struct RecallPoint {
  int64_t visit = 0;
  double shareRead = 0;  // keys read / keys visible
  double recall = 0;     // attention mass of the keys read
  double exact = 0;      // mass of as many keys, the best ones
  double random = 0;     // expected mass of as many keys drawn at random
};
/// One point for every visit = 1 .. clusters. Costs the head's map, row by row, and a sort of each row.
std::vector<RecallPoint> clusterRecall(const HeadInput& input, const ClusterMask& mask, Job& job);

}  // namespace headscope::core
