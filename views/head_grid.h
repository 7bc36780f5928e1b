#pragma once
// The head grid's picture, from plain data: one small map a head, layers down, heads across.
#include <memory>
#include <string>
#include <vector>

#include "core/session/session.h"
#include "core/tensor/matrix.h"
#include "views/map_image.h"
#include "views/view.h"

namespace headscope::views {

struct HeadGridData : ViewData {
  int64_t layers = 0, heads = 0;
  int64_t count = 0;               // N
  int64_t level = 0;               // a cell of a small map pools 2^level x 2^level weights (largest)
  std::vector<core::Matrix> maps;  // [layers * heads], each [cells, cells]; empty matrix: not there
  std::vector<double> limits;      // [layers * heads] largest weight, first token's column left out
  std::vector<double> limitsAll;   // [layers * heads] largest weight
  // Of heads that ran under another mechanism; both empty: none did
  std::vector<std::string> mechanisms;  // [layers * heads] "local:window=64", "" for the model's own attention
  std::vector<bool> isSigned;           // [layers * heads] entries may be negative: limits are of the size, colours diverge
  std::string modelName;
  std::vector<MapImageCache> caches;  // [layers * heads]
};

/// The order in which each layer's heads stand: by index, or by a score from highest to lowest (NaN last).
std::vector<std::vector<int64_t>> headOrder(int64_t layers, int64_t heads, const core::HeadScores* scores, const std::string& sortBy);

Figure drawHeadGrid(const HeadGridData& data, const core::ViewOptions& options, const core::Selection& selection,
                    const core::HeadScores* scores, const ViewFrame& frame);
/// The shape of what comes, with the progress, while the maps are being computed.
Figure drawHeadGridLoading(int64_t layers, int64_t heads, const core::Selection& selection, const ViewFrame& frame);

/// Where the cells lie; the same for drawing and for what a drag brushes.
struct HeadGridLayout {
  double left = 0, top = 0, cell = 0, gap = 0;
  int64_t firstLayer = 0, firstHead = 0, layers = 0, heads = 0;  // visible part
  Rect cellAt(int64_t row, int64_t col) const;                   // row, col within the whole grid
};
/// Where not all of them are shown: which ones are, in words under the grid.
void addHiddenNote(Figure& figure, const HeadGridLayout& layout, int64_t layers, int64_t heads, const ViewFrame& frame);
HeadGridLayout layOutHeadGrid(int64_t layers, int64_t heads, const core::ViewOptions& options, Size size, bool isPaper);

}  // namespace headscope::views
