#pragma once
// The attention map's picture, from plain data: queries down, keys across, entropy of each row at the right, mass that each key
// receives on top. The view (attention_map_view.cpp) fills the data from a trace; tests fill it by hand.
#include <optional>
#include <string>
#include <vector>

#include "core/attention/trace.h"
#include "core/session/session.h"
#include "core/tensor/matrix.h"
#include "views/map_image.h"
#include "views/view.h"

namespace headscope::views {

struct AttentionMapData : ViewData {
  core::HeadRef head;
  int64_t count = 0;                   // N
  int64_t level = 0;                   // a cell of `values` pools 2^level x 2^level weights (largest)
  int64_t firstRow = 0, firstCol = 0;  // tokens, of values(0, 0)
  core::Matrix values;                 // [rows, cols]
  std::vector<float> entropy;          // [N] bits of each row; empty: no strip
  std::vector<float> received;         // [N] mass of each key, summed over queries; empty: no strip
  std::vector<std::string> labels;     // [N] token_text labels
  std::vector<bool> isSpecial;         // [N] or empty
  std::string modelName;
  std::string mechanism;           // what the head ran under, "local:window=64"; "": the model's own attention
  std::vector<std::string> notes;  // what a reader of that has to know
  bool isSigned = false;           // entries may be negative: diverging colours, zero at the centre
  MapImageCache cache;

  int64_t step() const { return int64_t{1} << level; }
};

/// One entry, for the tag under the mouse.
struct CellDetail {
  int64_t query = -1, key = -1;  // first token of the cell
  double weight = 0;             // NaN when the model's mask hides it
  int64_t rank = 0;              // in its row, 1 is the largest; 0 unknown (pooled cell)
  int64_t visible = 0;           // keys that the query sees
};

/// Visible part of an N x N map in tokens: what the options say, kept inside the map.
struct VisiblePart {
  double firstRow = 0, rows = 0, firstCol = 0, cols = 0;
};
VisiblePart visiblePart(const core::ViewOptions& options, int64_t count);

Figure drawAttentionMap(const AttentionMapData& data, const core::ViewOptions& options, const core::Selection& selection,
                        const std::optional<CellDetail>& detail, const ViewFrame& frame);

/// Pans a zoomed map so that the query and the key are in it; false when they are already.
bool followInMap(const core::Selection& selection, int64_t count, core::ViewOptions& options);

/// Zooms at the pointer, pans, resets: shared by every view of one N x N map whose plot answers with Pick::Kind::Cell.
bool zoomMap(const View::Gesture& gesture, int64_t count, core::ViewOptions& options);

}  // namespace headscope::views
