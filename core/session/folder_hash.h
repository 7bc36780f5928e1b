#pragma once
// Fingerprints by which a session recognises the model, adapter or picture it was made with: 16 hex digits (64-bit FNV-1a).
#include <filesystem>
#include <string>
#include <string_view>

namespace headscope::core {

/// Over the config files, and of each safetensors file the name, size, header and first 4 KiB of
/// data. Reads at most 1 MiB a file, so an 8B model takes milliseconds; a model that differs only deep inside a file, with the
/// same sizes, is not told apart. "" when the folder has none of these files.
std::string folderHash(const std::filesystem::path& folder);
/// Over all bytes of a file that is in memory.
std::string contentsHash(std::string_view bytes);

}  // namespace headscope::core
