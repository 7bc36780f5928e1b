#pragma once
// What the composition view computes: scores of all causal pairs of heads, with an adapter also without it, and the edges in the
// orders that the graph takes them.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "core/weights/composition.h"
#include "views/map_image.h"
#include "views/value_scale.h"
#include "views/view.h"

namespace headscope::views {

struct CompositionEdge {
  int kind = 0;  // 0 q, 1 k, 2 v
  core::HeadRef from, to;
  double value = 0, excess = 0, before = 0;  // before: without the adapter; NaN when none is on
  double change() const { return value - before; }
};

struct CompositionData : ViewData {
  int64_t layers = 0, heads = 0;
  std::string modelName;
  bool isFolded = false;
  core::Composition scores;
  std::shared_ptr<const core::Composition> base;   // null: no adapter, or not there yet
  std::array<std::vector<uint32_t>, 3> strongest;  // by kind: pairs of positive excess, strongest first, as index in scores
  std::array<std::vector<uint32_t>, 3> changed;    // by kind: by size of the change; empty without an adapter
  std::array<core::Matrix, 3> excess;              // [writers, readers], 0 below the baseline, NaN of broken heads
  std::array<core::Matrix, 3> change;              // [cells, cells], of each cell the change largest in size; empty without
  std::array<MapImageCache, 6> caches;

  CompositionEdge edge(int kind, uint32_t index) const;
  /// All pairs that the head writes to or reads from.
  std::vector<CompositionEdge> edgesOf(int kind, core::HeadRef head) const;
};

/// The edges to draw, strongest first, and how many the filter lets through in all.
struct EdgeChoice {
  int kind = -1;  // -1: all
  bool isChange = false;
  double least = 0;  // excess, or size of the change
  size_t most = 60;
  bool isIsolated = false;
  core::HeadRef isolated;
};
struct ChosenEdges {
  std::vector<CompositionEdge> edges;
  size_t eligible = 0;
};
ChosenEdges chooseEdges(const CompositionData& data, const EdgeChoice& choice);

std::shared_ptr<const CompositionData> computeComposition(const ViewInput& input, core::Job& job, const View::ShowPart& show);

}  // namespace headscope::views
