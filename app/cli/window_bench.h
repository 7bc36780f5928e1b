#pragma once
// The window's bench: starts this program's window in processes of their own (fresh settings, no caches) with --times, and tells
// what they measured. Without a display each result says so and has no time.
#include <vector>

#include "core/bench/bench.h"

namespace headscope::app {

std::vector<core::BenchResult> benchWindow(core::BenchContext& context);

}  // namespace headscope::app
