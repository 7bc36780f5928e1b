#pragma once
// What the comparison view computes, and the parts of its picture: the table of mechanisms, and error against cost.
#include <string>
#include <vector>

#include "core/mechanisms/comparison.h"
#include "views/map_sampling.h"
#include "views/view.h"
#include "views/whole_model.h"

namespace headscope::views {

/// One head under one mechanism, for the scatter of all heads.
struct HeadPoint {
  core::HeadRef head;
  size_t mechanism = 0;  // index into results
  double error = 0, work = 0;
};

struct ComparisonData : ViewData {
  std::string mechanism, refusal, modelName;
  core::HeadRef head;
  int64_t count = 0, step = 1;
  core::Matrix truth, effective, difference;   // [cells, cells], of each cell the entry largest in size
  bool isSigned = false;                       // the effective map has negative entries or does not sum to 1
  std::vector<core::MechanismResult> results;  // the true head first
  std::vector<HeadPoint> heads;                // every head under every mechanism; empty: not asked for
  WholeModel whole;
  MapImageCache caches[3];
  /// Operations of a mechanism over the true head's.
  double work(const core::MechanismResult& r) const { return r.cost.operations / std::max(1.0, results[0].cost.operations); }
};

/// The tip's first line names the mechanism; a and b are layer and head of a point of the scatter.
Pick mechanismPick(const core::MechanismResult& result);

/// As many rows as fit into the rectangle, the shown mechanism always among them, and how many more there are. Columns that
/// the width does not hold are left out, the least telling first.
void addComparisonTable(Figure& figure, const Rect& rect, const ComparisonData& data, double line, const Theme& theme);

/// plot: inside the axes.
void addComparisonScatter(Figure& figure, const Rect& plot, const ComparisonData& data, const Theme& theme);

}  // namespace headscope::views
