#pragma once
// HeadHeat: layers down, heads across, one coloured cell a head: shared by every view that shows a scalar of all heads. Cells with
// NaN are hatched; selection, brushed heads and the rubber band lie in the overlay. A drag over it brushes.
#include <functional>
#include <string>
#include <vector>

#include "core/tensor/matrix.h"
#include "views/color_ramp.h"
#include "views/value_scale.h"
#include "views/view.h"

namespace headscope::views {

inline constexpr int64_t kBrushControl = 901;  // Pick::a of the ground between cells or nodes, where a drag may begin too

struct HeadHeat {
  int64_t layers = 0, heads = 0;
  double left = 0, top = 0, width = 0, height = 0, gap = 0;  // of the first cell; gap is part of width and height
  Rect at(int64_t layer, int64_t head) const {
    return {left + static_cast<double>(head) * width, top + static_cast<double>(layer) * height, width - gap, height - gap};
  }
  Rect cells() const { return {left, top, width * static_cast<double>(heads), height * static_cast<double>(layers)}; }
};

/// The largest cells (at most `most` points) that fit into `area` with their labels at the left and on top.
HeadHeat layOutHeat(int64_t layers, int64_t heads, const Rect& area, double most, const ViewFrame& frame);

/// `tipOf` gives a cell's tooltip; `part` becomes the picks' c (which of several heats of a figure).
void addHeat(Figure& figure, const HeadHeat& heat, core::ConstMatrixView values, const ValueScale& scale, const ColorRamp& ramp,
             const core::Selection& selection, const ViewFrame& frame, const std::function<std::string(core::HeadRef)>& tipOf,
             int64_t part = -1);

/// The rubber band of a drag that began in the heat; nothing when there is none.
void addRubberBand(Figure& figure, const Rect& area, const ViewFrame& frame);

/// A drag that began on a head's cell or node, or in between them, brushes: sets the brushed heads and selects the first of them.
/// False when it began elsewhere or pans.
bool brushByDrag(const View::Gesture& gesture, core::Selection& selection);

}  // namespace headscope::views
