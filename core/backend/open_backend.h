#pragma once
// How openBackend (backend.h) takes a device into use, apart from where the device comes from; and what callers of it share.
#include "core/backend/cuda_plugin.h"
#include "core/weights/disk_cache.h"

namespace headscope::core {

/// The loaded backend after its self-test, behind a GuardedBackend; what failed is withdrawn and named in reason(). A device that
/// is lost in the test is none.
PluginResult guarded(PluginResult loaded, const DiskCache& cache);

/// The backend where it is a device, null where it is the CPU: analyses that have their own way on the CPU hand over to the former.
std::shared_ptr<Backend> deviceOnly(std::shared_ptr<Backend> backend);

/// "float32", "tf32" or "bf16". Throws Error on another word.
Precision precisionOf(const std::string& word);

/// Sets a device's precision where its products pass the test of it; where they don't it stays at float32, and reason() says so.
void usePrecision(Backend& device, Precision precision);

}  // namespace headscope::core
