#pragma once
// Token text: what a token stands for, made safe and visible, through one function: spaces as thin raised dots, a newline as a
// return sign, invalid bytes and control characters escaped. Everything on screen and paper that shows a token goes through here.
#include <string>
#include <string_view>

#include "core/model/prompt.h"
#include "views/figure/figure.h"

namespace headscope::views {

/// Bytes (may be invalid UTF-8) as one safe line: ' ' -> "·", '\n' -> "↵", '\t' -> "⇥", '\r' -> "\\r", other control and format
/// characters -> "\x07" or "\u{200B}", invalid bytes -> "\xE2", a leading combining mark on a dotted circle. "" stays "".
std::string visibleText(std::string_view bytes);

/// A token's label: visibleText of its bytes; its piece where it has none (special tokens); "#17" from its id without a tokenizer.
std::string tokenLabel(const core::Token& token);

/// Running text for titles and captions: newlines become spaces, control characters and invalid bytes are escaped, spaces stay.
std::string plainText(std::string_view bytes);

/// For Dear ImGui, whose characters have 16 bits: code points beyond U+FFFF become "U+1F642"; the rest stays.
std::string escapeBeyondBmp(std::string_view utf8);

/// Characters that the typefaces at hand lack become "U+1F642".
std::string escapeMissing(const std::string& utf8, FontFace face, const TextMeasure& measure);

/// The text cut to `width` with an ellipsis; "" when not even that fits.
std::string elide(const std::string& text, const Font& font, double width, const TextMeasure& measure);

/// One code point at `at` (moved past it). Invalid bytes give -1 and move by one.
int32_t nextCodePoint(std::string_view text, size_t& at);

}  // namespace headscope::views
