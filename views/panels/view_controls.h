#pragma once
// Which of the shared options each view reads, and the view-specific ones, so that its header and popover offer these and no
// others. Adding a view's controls is adding a row.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/session/session.h"
#include "views/view.h"

namespace headscope::views {

/// A view-specific option: a choice among words, or a number.
struct ExtraControl {
  std::string key;  // in ViewOptions::words or ::numbers
  std::string label, tip;
  std::vector<std::string> choices;  // words; empty: a number
  double minimum = 0, maximum = 1, standard = 0;
  bool isWhole = false;
  bool isLog = false;               // a slider over decades
  std::string unset = "automatic";  // the word where nothing is chosen
  bool isParameter = false;         // of a mechanism: offered while the chosen one has it
};

/// The control as it means something now, with the choices that the model has; none where it means nothing: a parameter of
/// another mechanism, an offset without rotary positions.
std::optional<ExtraControl> offeredControl(ExtraControl control, const ViewInput& input);

struct ViewControls {
  bool scale = false;      // colour scale: linear, square root, logarithmic
  bool hideFirst = false;  // first token's column left out of the limits
  bool zoom = false;       // "fit"
  bool limits = false;     // colour limits can be locked
  bool threshold = false;  // smallest weight drawn
  bool sortBy = false;     // heads ordered by a score
  std::vector<ExtraControl> extra;
  bool hasPopover() const { return limits || threshold || sortBy || !extra.empty(); }
};

const ViewControls& controlsOf(std::string_view view);

std::string_view scaleWord(core::ColorScale scale);  // "square root"

}  // namespace headscope::views
