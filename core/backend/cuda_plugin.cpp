#include "core/backend/cuda_plugin.h"

#include <dlfcn.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

namespace headscope::core {
namespace {

constexpr const char* kPluginFile = "headscope_cuda.so";

using VersionFunction = const char* (*)();
using CreateFunction = Backend* (*)(char* reason, size_t capacity);

/// PLUGIN.needs, where there is one: lines "LIBRARY REASON". The reason of the first library that the system lacks; "" none.
std::string lackingFor(const std::string& plugin) {
  std::ifstream needs(std::filesystem::path(plugin).replace_extension(".needs"));
  std::string line;
  while (std::getline(needs, line)) {
    const size_t space = line.find(' ');
    if (space == std::string::npos) continue;
    void* library = ::dlopen(line.substr(0, space).c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) return line.substr(space + 1);
    ::dlclose(library);
  }
  return {};
}

/// What an open library gives. Nothing of the library is referred to by a result without a backend.
PluginResult backendOf(void* library) {
  const auto version = reinterpret_cast<VersionFunction>(::dlsym(library, "headscopePluginVersion"));
  const auto create = reinterpret_cast<CreateFunction>(::dlsym(library, "headscopeCreateBackend"));
  if (version == nullptr || create == nullptr) return {nullptr, std::string(kPluginFile) + " is not a plug-in of this program"};
  if (std::strcmp(version(), kPluginVersion) != 0) {
    return {nullptr, std::string("the CUDA plug-in is of another version (") + version() + ", not " + kPluginVersion + ")"};
  }
  std::array<char, 512> reason{};
  Backend* backend = create(reason.data(), reason.size());
  if (backend == nullptr) return {nullptr, reason.data()};
  return {std::shared_ptr<Backend>(backend), {}};
}

}  // namespace

PluginResult loadCudaBackend() {
  std::error_code code;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code) return {nullptr, "the program's folder is unknown"};
  return loadCudaBackend((program.parent_path() / kPluginFile).string());
}

PluginResult loadCudaBackend(const std::string& file) {
  if (!std::filesystem::exists(file)) return {nullptr, "built without the CUDA plug-in"};
  if (std::string reason = lackingFor(file); !reason.empty()) return {nullptr, std::move(reason)};
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* message = ::dlerror();
    return {nullptr, std::string("the CUDA plug-in can't be loaded: ") + (message != nullptr ? message : "unknown reason")};
  }
  PluginResult result = backendOf(library);
  // With a backend it stays loaded: the driver's threads and the backend's code outlive any handle. Without one CUDA's libraries
  // would hold a hundred megabytes for nothing.
  if (result.backend == nullptr) ::dlclose(library);
  return result;
}

}  // namespace headscope::core
