#pragma once
// The device that ran the prompt, for analyses of weights, which have their own way on the CPU.
#include <memory>

#include "core/backend/open_backend.h"
#include "views/view.h"

namespace headscope::views {

/// Null where the CPU ran it, or where there is no prompt.
inline std::shared_ptr<core::Backend> deviceOf(const ViewInput& input) {
  return input.trace ? core::deviceOnly(input.trace->sharedBackend()) : nullptr;
}

}  // namespace headscope::views
