#pragma once
// The CUDA plug-in as the program sees it: a file beside the program, loaded at run time and never linked, with two functions of
// C linkage. Knows no CUDA: everything about the card is behind Backend.
#include <cstddef>
#include <memory>
#include <string>

#include "core/backend/backend.h"

namespace headscope::core {

/// Both sides must be built from the same Backend: raise the last number when backend.h or what it passes changes.
inline constexpr const char* kPluginVersion = "headscope-backend-6";

struct PluginResult {
  std::shared_ptr<Backend> backend;  // null when there is none
  std::string reason;                // why there is none: "no CUDA device found"
};

/// Loads headscope_cuda.so from the program's folder and asks it for a backend. Never throws for a missing or unfit card.
PluginResult loadCudaBackend();
/// The same from a given file, for tests.
PluginResult loadCudaBackend(const std::string& file);

}  // namespace headscope::core
