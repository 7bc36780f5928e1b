#pragma once
// Render: from a session to its picture on paper, without a window: opens the model, runs the prompt, computes and draws the view.
// The window's export draws through paperFigure() too, so both give the same picture.
#include <memory>
#include <vector>

#include "core/attention/head_scores.h"
#include "core/attention/trace.h"
#include "core/base/job.h"
#include "core/session/session.h"
#include "views/view.h"

namespace headscope::app {

/// The view's picture at the layout's width. Several heads (input.selection.brushed) give a panel of one picture each where the view
/// shows one head at a time. Computes what it needs. Throws core::Error when there is nothing to draw.
views::Figure paperFigure(const views::View& view, const views::ViewInput& input, const core::FigureLayout& layout, bool isDark,
                          core::Job& job);

/// The prompt that a first-time user sees already run.
const char* firstPrompt();

/// The first session without a display: the bundled model on firstPrompt(), a table of its most telling heads on stdout, the first
/// figure as SVG and PNG in `folder` (made when absent) and their paths on stdout.
void runFirstSessionWithoutDisplay(const std::string& folder);

}  // namespace headscope::app
