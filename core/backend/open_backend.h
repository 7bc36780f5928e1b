#pragma once
// How openBackend (backend.h) takes a device into use, apart from where the device comes from: for tests with a device of their own.
#include "core/backend/cuda_plugin.h"
#include "core/weights/disk_cache.h"

namespace headscope::core {

/// The loaded backend after its self-test, behind a GuardedBackend; what failed is withdrawn and named in reason(). A device that
/// is lost in the test is none.
PluginResult guarded(PluginResult loaded, const DiskCache& cache);

}  // namespace headscope::core
