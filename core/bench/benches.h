#pragma once
// The benches of core, for app/cli/bench_registry.cpp.
#include "core/bench/bench.h"

namespace headscope::core {

std::vector<BenchResult> benchForward(BenchContext& context);      // forward_bench.cpp
std::vector<BenchResult> benchMapOverview(BenchContext& context);  // map_bench.cpp
std::vector<BenchResult> benchHeadGrid(BenchContext& context);     // map_bench.cpp
std::vector<BenchResult> benchProducts(BenchContext& context);     // products_bench.cpp
std::vector<BenchResult> benchTokenizer(BenchContext& context);    // tokenizer_bench.cpp
// core/mechanisms/mechanisms_bench.cpp
std::vector<BenchResult> benchMechanisms(BenchContext& context);
std::vector<BenchResult> benchWindowShare(BenchContext& context);
std::vector<BenchResult> benchLinearGrowth(BenchContext& context);
std::vector<BenchResult> benchTwelveMechanisms(BenchContext& context);
// weights_bench.cpp
std::vector<BenchResult> benchSpectra(BenchContext& context);
std::vector<BenchResult> benchLatentSpectra(BenchContext& context);
std::vector<BenchResult> benchComposition(BenchContext& context);
std::vector<BenchResult> benchWholeComposition(BenchContext& context);
std::vector<BenchResult> benchLora(BenchContext& context);
std::vector<BenchResult> benchSubspace(BenchContext& context);

}  // namespace headscope::core
