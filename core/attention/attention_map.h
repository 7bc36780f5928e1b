#pragma once
// AttentionMap: a recipe for one head's map, not a matrix: any tile at any zoom level, from the trace's queries, keys and row
// statistics. Level 0 cells are entries A[i, j]; a cell of level z pools 2^z x 2^z of them. Costs the work of the tile's
// entries and the tile's memory, whatever N is. Masked entries are exactly 0.
#include <cstdint>
#include <memory>
#include <vector>

#include "core/attention/trace.h"
#include "core/backend/tile_request.h"

namespace headscope::core {

class AttentionMap {
 public:
  AttentionMap(std::shared_ptr<const Trace> trace, HeadRef head);

  int64_t size() const;                 // N
  int64_t levels() const;               // zoom levels until one cell holds all
  int64_t sizeAt(int64_t level) const;  // cells a side: ceil(N / 2^level)
  HeadRef head() const { return head_; }
  const Trace& trace() const { return *trace_; }

  /// Cells [rows, cols]. Throws Cancelled; asserts that the request is inside the map.
  Matrix tile(const TileRequest& request, Job& job) const;
  /// One exact row A[query, :], [N].
  std::vector<float> row(int64_t query) const;
  /// One entry.
  float at(int64_t query, int64_t key) const;
  /// The scaled score before softmax (after soft cap); -infinity where masked.
  float score(int64_t query, int64_t key) const;
  /// True where the model's mask lets query see key.
  bool isVisible(int64_t query, int64_t key) const;
  /// Mass that each key receives, summed over all queries, [N].
  std::vector<float> received(Job& job) const;

 private:
  std::shared_ptr<const Trace> trace_;
  HeadRef head_;
};

}  // namespace headscope::core
