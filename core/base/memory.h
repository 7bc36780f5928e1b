#pragma once
// Memory that this process holds, as the kernel counts it.
#include <cstdint>

namespace headscope::core {

/// Everything in memory now, mapped files included, in bytes; 0 where it can't be told.
uint64_t residentBytes();
/// Anonymous pages alone (not mapped files), in bytes.
uint64_t anonymousBytes();

}  // namespace headscope::core
