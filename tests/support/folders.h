#pragma once
// Where tests find the project and the build they belong to. Only folders.cpp knows the paths, so that every other file compiles
// to the same object in any folder.
#include <filesystem>

namespace headscope::tests {

/// The project's root.
std::filesystem::path sourceFolder();
/// The build's folder: the program and the plug-in lie there.
std::filesystem::path buildFolder();
/// The reference data beside the project, as configured.
std::filesystem::path configuredGoldenFolder();

}  // namespace headscope::tests
