#pragma once
// What an adapter (or any other change of weights) did to composition: C_after - C_before, edge by edge.
#include <vector>

#include "core/base/job.h"
#include "core/weights/composition.h"

namespace headscope::core {

struct EdgeChange {
  CompositionKind kind = CompositionKind::Query;
  int64_t fromLayer = 0, fromHead = 0, toLayer = 0, toHead = 0;  // indices of the compositions; layerNumbers names them
  double before = 0, after = 0;
  double change() const { return after - before; }
};

enum class EdgeOrder { Size, Grown, Shrunk };  // by |change|; the most grown first; the most shrunk first

/// At most `most` edges that changed, in order; of one kind only where `only` is given. Edges of heads with NaN weights are left out.
/// Throws Error where the two are not of one shape; Cancelled. Memory: that of `most` edges.
std::vector<EdgeChange> changedEdges(const Composition& before, const Composition& after, EdgeOrder order, int64_t most,
                                     const CompositionKind* only = nullptr, const Job& job = Job());

}  // namespace headscope::core
