#include "app/cli/bench_registry.h"

#include "app/cli/mask_bench.h"
#include "app/cli/window_bench.h"
#include "core/bench/benches.h"

namespace headscope::app {

const std::vector<core::Bench>& allBenches() {
  static const std::vector<core::Bench> benches = {
      {"forward", "GPT-2 small's shapes, 512 tokens, with head scores", core::benchForward},
      {"map_overview", "one head's map at 8,192 tokens", core::benchMapOverview},
      {"head_grid", "144 maps at 512 tokens", core::benchHeadGrid},
      {"window", "the window's start, its maps, and its frames while one zooms and pans", benchWindow},
      {"products", "one layer's products at real widths, weights as stored", core::benchProducts},
      {"tokenizer", "a byte-level BPE of 128,000 entries: opening, and encoding on one core", core::benchTokenizer},
      {"mechanisms", "each mechanism on one head at 2,048 tokens, beside dense with its N x N matrix", core::benchMechanisms},
      {"window_share", "a window of 512 at 8,192 tokens against its share of the causal pairs", core::benchWindowShare},
      {"linear_growth", "linear attention from 2,048 to 32,768 tokens", core::benchLinearGrowth},
      {"mask_repaint", "a slider of the mask studio: data and picture anew, 512 tokens of the bundled shapes", benchMaskRepaint},
      {"twelve_mechanisms", "errors and cost of twelve mechanisms on one head at 512 tokens", core::benchTwelveMechanisms},
      {"spectra", "fused spectra of GPT-2 small and of 32 x 32 heads at d 4096", core::benchSpectra},
      {"latent_spectra", "one DeepSeek-V3 layer from float8", core::benchLatentSpectra},
      {"composition", "all pairs of GPT-2 small", core::benchComposition},
      {"composition_whole", "all pairs of 32 x 32 heads at d 4096, minutes and 4.3 GB of scratch", core::benchWholeComposition, true},
      {"lora", "adapters of rank 64 at d 4096", core::benchLora},
      {"subspace", "shared output subspace of 32 heads at d 4096", core::benchSubspace},
  };
  return benches;
}

}  // namespace headscope::app
