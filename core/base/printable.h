#pragma once
// Names from files in messages: a hostile name must not break the line or the terminal.
#include <string>
#include <string_view>

namespace headscope::core {

/// The text with control characters and invalid UTF-8 bytes as \xNN, cut after `limit` bytes with "...".
std::string printable(std::string_view text, size_t limit = 160);

}  // namespace headscope::core
