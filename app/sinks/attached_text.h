#pragma once
// Attached text: a text that a PDF carries as an attached file or a PNG as a text chunk. Readers for hostile bytes: every length is
// checked and what is inflated is bounded. Nothing of the picture is decoded.
#include <cstddef>
#include <string>
#include <string_view>

namespace headscope::app {

inline constexpr size_t kAttachedTextLimit = 32u << 20;

/// The first attached file whose first bytes contain `mark`; "" when there is none, or when the file is too broken to tell.
std::string attachedTextOfPdf(std::string_view pdf, std::string_view mark);

/// The text chunk (tEXt, zTXt or iTXt) with this keyword; "" when there is none.
std::string textChunkOfPng(std::string_view png, std::string_view keyword);

}  // namespace headscope::app
