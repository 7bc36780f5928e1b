#pragma once
// ParameterSliders: the shown mechanism in plain sight in its pane: a row of words to choose it by, and a slider for each of its numbers,
// at their sensible range for this prompt. In the overlay: never exported. What they set is options.words["mechanism"] and
// options.numbers by parameter, as the "more" popover does.
#include <string>
#include <vector>

#include "views/figure_slider.h"
#include "views/view.h"

namespace headscope::views {

/// Points that they take at the top of a pane; 0 on paper, and in panes too low for them.
double parameterSlidersHeight(Size size, bool isPaper, const Theme& theme);

/// names: kinds to choose from; as many as the width holds, the shown one always.
void addParameterSliders(Figure& figure, const ViewInput& input, const std::vector<std::string>& names, const ViewFrame& frame);

/// True when the gesture was on a word or a slider of these; options changed.
bool moveParameterSliders(const View::Gesture& gesture, const ViewInput& input, const std::vector<std::string>& names,
                          core::ViewOptions& options);

}  // namespace headscope::views
