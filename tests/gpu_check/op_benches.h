#pragma once
// Times of operations at the sizes of real models, a JSON line each: seconds, the best of several runs, with what the work amounts
// to and its share of the card's limits, measured in the same run: large products, copies from host memory. peers.py prints the same names
// for PyTorch where it is installed.
#include "core/backend/backend.h"

namespace headscope::tests {

/// isSmall: sizes divided, to see that it runs. Returns an exit code.
int benchOps(core::Backend& backend, bool isSmall);

}  // namespace headscope::tests
