#pragma once
// Panels: several figures laid out as one, with letters where asked.
#include <vector>

#include "views/figure/figure.h"
#include "views/theme.h"

namespace headscope::views {

/// Moves every item of `figure` by (dx, dy) into `target`, content and overlay.
void appendFigure(Figure& target, const Figure& figure, double dx, double dy);

/// Rows of `columns` figures each, left to right, `gap` points apart; letters a, b, c at their top left corners when asked.
Figure panelOf(const std::vector<Figure>& figures, int columns, double gap, bool hasLetters, const Theme& theme);

}  // namespace headscope::views
