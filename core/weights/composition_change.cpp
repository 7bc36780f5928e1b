#include "core/weights/composition_change.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"

namespace headscope::core {

std::vector<EdgeChange> changedEdges(const Composition& before, const Composition& after, EdgeOrder order, int64_t most,
                                     const CompositionKind* only) {
  if (before.layerNumbers != after.layerNumbers || before.heads != after.heads || before.metric != after.metric)
    throw Error("two compositions of other heads can't be compared");
  std::vector<EdgeChange> edges;
  for (const CompositionKind kind : {CompositionKind::Query, CompositionKind::Key, CompositionKind::Value}) {
    if (only != nullptr && *only != kind) continue;
    for (int64_t a = 0; a < before.layers; ++a) {
      for (int64_t i = 0; i < before.heads; ++i) {
        for (int64_t b = a + 1; b < before.layers; ++b) {
          for (int64_t j = 0; j < before.heads; ++j) {
            const EdgeChange edge{kind, a, i, b, j, before.at(kind, a, i, b, j), after.at(kind, a, i, b, j)};
            const double change = edge.change();
            if (!std::isfinite(change) || change == 0) continue;
            if ((order == EdgeOrder::Grown && change < 0) || (order == EdgeOrder::Shrunk && change > 0)) continue;
            edges.push_back(edge);
          }
        }
      }
    }
  }
  const size_t count = std::min(edges.size(), static_cast<size_t>(std::max<int64_t>(0, most)));
  std::partial_sort(edges.begin(), edges.begin() + static_cast<int64_t>(count), edges.end(),
                    [](const EdgeChange& x, const EdgeChange& y) { return std::abs(x.change()) > std::abs(y.change()); });
  edges.resize(count);
  return edges;
}

}  // namespace headscope::core
