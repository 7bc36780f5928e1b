#pragma once
// AttentionMap: a recipe for one head's map, not a matrix: any tile at any zoom level, from the trace's queries, keys and row
// statistics. Level 0 cells are entries A[i, j]; a cell of level z pools 2^z x 2^z of them. Costs the work of the tile's
// entries and the tile's memory, whatever N is. Masked entries are exactly 0.
// Where the head ran under another mechanism (Trace::effectiveMaps), the map is the one that multiplied V: its tiles cost whole rows of
// the mechanism, and its entries may be negative.
#include <cstdint>
#include <memory>
#include <string>
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

  /// What the head ran under in place of the model's own attention, "local:window=64"; "": its own.
  const std::string& mechanism() const { return mechanism_; }
  /// Entries may be negative and rows need not sum to 1: diverging colours.
  bool isSigned() const;
  /// The map multiplies the head's own values.
  bool readsOwnValues() const;
  /// What a reader of another mechanism's map has to know, "not causal: sees later tokens"; empty for the model's own.
  std::vector<std::string> notes(Job& job) const;

  /// Cells [rows, cols]; pooled by Max, the largest in size. Throws Cancelled; asserts that the request is inside the map.
  Matrix tile(const TileRequest& request, Job& job) const;
  /// One exact row A[query, :], [N].
  std::vector<float> row(int64_t query) const;
  /// One entry.
  float at(int64_t query, int64_t key) const;
  /// The scaled score of q and k before softmax (after soft cap); -infinity where the model masks it. Always the model's own.
  float score(int64_t query, int64_t key) const;
  /// True where the model's mask lets query see key.
  bool isVisible(int64_t query, int64_t key) const;
  /// True where the query sees the key in this map, whose entry there is `weight`: of other mechanisms only entries tell.
  bool isSeen(int64_t query, int64_t key, float weight) const { return mechanism_.empty() ? isVisible(query, key) : weight != 0.0f; }
  /// Mass that each key receives, summed over all queries, [N].
  std::vector<float> received(Job& job) const;

 private:
  Matrix effectiveTile(const TileRequest& request, Job& job) const;

  std::shared_ptr<const Trace> trace_;
  HeadRef head_;
  std::string mechanism_;
};

}  // namespace headscope::core
