#pragma once
// Every bench that `headscope bench` knows: one line each.
#include <vector>

#include "core/bench/bench.h"

namespace headscope::app {

const std::vector<core::Bench>& allBenches();

}  // namespace headscope::app
