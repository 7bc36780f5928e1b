#pragma once
// What the view of a layer's shared subspace shows: errors against rank, and which pairs of heads share a space.
#include <string>
#include <vector>

#include "core/weights/subspace.h"
#include "views/map_image.h"
#include "views/view.h"

namespace headscope::views {

struct SubspaceData : ViewData {
  core::SharedSubspace space;
  std::vector<double> errors, storedErrors;  // by rank [0 .. full]
  core::Matrix overlaps;                     // [heads, heads]; empty: not there yet
  std::string modelName;
  bool isFolded = false;
  MapImageCache cache;
};

}  // namespace headscope::views
