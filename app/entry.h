#pragma once
// The program's entry: a subcommand runs without a display, anything else opens the window.

namespace headscope::app {

/// Exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage.
int runHeadscope(int argc, char** argv);

}  // namespace headscope::app
