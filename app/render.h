#pragma once
// Render: a view's picture on paper. The command line and the window's export both draw through paperFigure(), so that they
// give the same picture.
#include "core/base/job.h"
#include "core/session/session.h"
#include "views/view.h"

namespace headscope::app {

/// The view's picture at the layout's width. Several heads (input.selection.brushed) give a panel of one picture each where the view
/// shows one head at a time. Computes what it needs. Throws core::Error when there is nothing to draw.
views::Figure paperFigure(const views::View& view, const views::ViewInput& input, const core::FigureLayout& layout, bool isDark,
                          core::Job& job);

}  // namespace headscope::app
