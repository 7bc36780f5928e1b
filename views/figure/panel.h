#pragma once
// Panels: several figures laid out as one, with letters where asked.
#include <string>
#include <vector>

#include "views/figure/figure.h"
#include "views/theme.h"

namespace headscope::views {

/// Moves every item of `figure` by (dx, dy) into `target`, content and overlay.
void appendFigure(Figure& target, const Figure& figure, double dx, double dy);

/// Rows of `columns` figures each, left to right, `gap` points apart. At each one's top left corner its name (one a figure, or
/// none at all), and before it a letter a, b, c when asked.
Figure panelOf(const std::vector<Figure>& figures, const std::vector<std::string>& names, int columns, double gap, bool hasLetters,
               const Theme& theme);

}  // namespace headscope::views
