// The plug-in's two exported functions; core/backend/cuda_plugin.h declares what the program expects. No exception leaves here.
#include <cstdio>
#include <exception>

#include "core/backend/cuda_plugin.h"
#include "gpu/cuda_backend.h"

extern "C" __attribute__((visibility("default"))) const char* headscopePluginVersion() { return headscope::core::kPluginVersion; }

extern "C" __attribute__((visibility("default"))) headscope::core::Backend* headscopeCreateBackend(char* reason, size_t capacity) {
  try {
    return new headscope::gpu::CudaBackend();
  } catch (const std::exception& e) {
    std::snprintf(reason, capacity, "%s", e.what());
  } catch (...) {
    std::snprintf(reason, capacity, "unknown failure");
  }
  return nullptr;
}
