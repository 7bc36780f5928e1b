#pragma once
// Folder hash: a short fingerprint by which a session recognises the model or adapter it was made with.
#include <filesystem>
#include <string>

namespace headscope::core {

/// 16 hex digits (64-bit FNV-1a) over the config files, and of each safetensors file the name, size, header and first 4 KiB of
/// data. Reads at most 1 MiB a file, so an 8B model takes milliseconds; a model that differs only deep inside a file, with the
/// same sizes, is not told apart. "" when the folder has none of these files.
std::string folderHash(const std::filesystem::path& folder);

}  // namespace headscope::core
