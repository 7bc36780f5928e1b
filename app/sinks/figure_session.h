#pragma once
// Sessions out of files: a .headscope or .json file, or a figure that Headscope exported (SVG, PDF, PNG). The files are hostile
// until checked: sizes, depths and inflated lengths are bounded.
#include <filesystem>
#include <string>

#include "core/session/session.h"

namespace headscope::app {

/// The kind is told from the first bytes, not from the name. Throws core::Error naming the file: unreadable, not a figure, no
/// session inside, a session that is not valid.
core::Session sessionFromFile(const std::filesystem::path& path);

/// The session's JSON inside an SVG, PDF or PNG; throws core::Error when there is none.
std::string sessionTextOf(const std::filesystem::path& path);

}  // namespace headscope::app
