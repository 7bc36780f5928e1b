#pragma once
// Memory that this process holds and that is left, as the kernel counts it.
#include <cstdint>

namespace headscope::core {

/// Everything in memory now, mapped files included, in bytes; 0 where it can't be told.
uint64_t residentBytes();
/// Anonymous pages alone (not mapped files), in bytes.
uint64_t anonymousBytes();
/// What programs can still have without swapping (MemAvailable), in bytes; the largest number where the system does not say.
uint64_t availableMemory();

}  // namespace headscope::core
