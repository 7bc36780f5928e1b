#pragma once
// The first session: what a first-time user sees already run, with a window or without.
#include <string>

namespace headscope::app {

/// The prompt that a first-time user sees already run.
const char* firstPrompt();

/// The first session without a display: the bundled model on firstPrompt(), a table of its most telling heads on stdout, the first
/// figure as SVG and PNG in `folder` (made when absent) and their paths on stdout.
void runFirstSessionWithoutDisplay(const std::string& folder);

}  // namespace headscope::app
