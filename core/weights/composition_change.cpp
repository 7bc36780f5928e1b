#include "core/weights/composition_change.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"

namespace headscope::core {

std::vector<EdgeChange> changedEdges(const Composition& before, const Composition& after, EdgeOrder order, int64_t most,
                                     const CompositionKind* only, const Job& job) {
  if (before.layerNumbers != after.layerNumbers || before.heads != after.heads || before.metric != after.metric)
    throw Error("two compositions of other heads can't be compared");
  // The largest so far as a heap, the least of them in front: all of a large model's would not fit in memory.
  const size_t count = static_cast<size_t>(std::max<int64_t>(0, most));
  const auto isLarger = [](const EdgeChange& x, const EdgeChange& y) { return std::abs(x.change()) > std::abs(y.change()); };
  std::vector<EdgeChange> edges;
  const auto add = [&](const EdgeChange& edge) {
    if (edges.size() == count) {
      if (count == 0 || !isLarger(edge, edges.front())) return;
      std::pop_heap(edges.begin(), edges.end(), isLarger);
      edges.pop_back();
    }
    edges.push_back(edge);
    std::push_heap(edges.begin(), edges.end(), isLarger);
  };
  for (const CompositionKind kind : {CompositionKind::Query, CompositionKind::Key, CompositionKind::Value}) {
    if (only != nullptr && *only != kind) continue;
    for (int64_t a = 0; a < before.layers; ++a) {
      for (int64_t i = 0; i < before.heads; ++i) {
        job.checkpoint();
        for (int64_t b = a + 1; b < before.layers; ++b) {
          for (int64_t j = 0; j < before.heads; ++j) {
            const EdgeChange edge{kind, a, i, b, j, before.at(kind, a, i, b, j), after.at(kind, a, i, b, j)};
            const double change = edge.change();
            if (!std::isfinite(change) || change == 0) continue;
            if ((order == EdgeOrder::Grown && change < 0) || (order == EdgeOrder::Shrunk && change > 0)) continue;
            add(edge);
          }
        }
      }
    }
  }
  std::sort_heap(edges.begin(), edges.end(), isLarger);
  return edges;
}

}  // namespace headscope::core
