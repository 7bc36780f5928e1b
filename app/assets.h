#pragma once
// Where the bundled files lie: beside the program, or in the source tree it was built from.
#include <filesystem>
#include <string>

namespace headscope::app {

/// The assets folder. Throws core::Error when it can't be found.
std::filesystem::path assetsFolder();

/// MODEL of the command line: a folder, or the name of a bundled model ("tales"). Throws core::Error when neither.
std::filesystem::path resolveModel(const std::string& model);
/// The same for adapters ("tales_shakespeare" is bundled).
std::filesystem::path resolveAdapter(const std::string& adapter);

}  // namespace headscope::app
