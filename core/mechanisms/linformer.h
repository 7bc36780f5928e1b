#pragma once
// Linformer (Wang 2020) without training: out = softmax(Q (E K)^T scale) (F V) with E, F [p, N]; not causal.
#include <memory>

#include "core/mechanisms/mechanism.h"

namespace headscope::core {

/// With given projections.
std::unique_ptr<HeadRun> linformerRun(const HeadInput& input, Matrix e, Matrix f);

/// An orthonormal basis U [N, p] of the leading left singular space of the head's true map A, found by subspace iteration
/// that makes rows of A anew each time: A itself is never held. U U^T A is A's best approximation of rank p.
Matrix leadingRowSpace(const HeadInput& input, int64_t p, uint64_t seed, Job& job);

}  // namespace headscope::core
