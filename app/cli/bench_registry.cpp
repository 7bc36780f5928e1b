#include "app/cli/bench_registry.h"

#include "core/bench/benches.h"

namespace headscope::app {

const std::vector<core::Bench>& allBenches() {
  static const std::vector<core::Bench> benches = {
      {"forward", "GPT-2 small's shapes, 512 tokens, with head scores", core::benchForward},
      {"map_overview", "one head's map at 8,192 tokens", core::benchMapOverview},
      {"head_grid", "144 maps at 512 tokens", core::benchHeadGrid},
      {"products", "one layer's products at real widths, weights as stored", core::benchProducts},
  };
  return benches;
}

}  // namespace headscope::app
