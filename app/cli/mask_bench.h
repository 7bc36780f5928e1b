#pragma once
// The bench of the mask studio's sliders, for bench_registry.cpp.
#include <vector>

#include "core/bench/bench.h"

namespace headscope::app {

std::vector<core::BenchResult> benchMaskRepaint(core::BenchContext& context);

}  // namespace headscope::app
