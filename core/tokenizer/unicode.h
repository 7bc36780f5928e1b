#pragma once
// Unicode for tokenizers: UTF-8 in and out and the character classes that the tokenizers package uses.
//
// Classes come from utf8proc (Unicode 15), set right where the reference has another version (unicode_versions.h); strings given to
// decodeUtf8 are valid UTF-8 (repairUtf8 makes them so).
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace headscope::core {

struct DecodedChar {
  char32_t value;
  uint32_t length;  // bytes
};

/// The character that starts at text[at]; text is valid UTF-8 and at < text.size().
inline DecodedChar decodeUtf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[at + i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xE0) return {static_cast<char32_t>((first & 0x1F) << 6 | (byte(1) & 0x3F)), 2};
  if (first < 0xF0) return {static_cast<char32_t>((first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F)), 3};
  return {static_cast<char32_t>((first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F)), 4};
}

void appendUtf8(std::string& text, char32_t c);
std::string utf8Of(char32_t c);

/// Bytes of the character whose first byte this is (valid UTF-8).
inline uint32_t utf8Length(char first) {
  const auto b = static_cast<uint8_t>(first);
  return b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}
inline bool isUtf8Continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0) == 0x80; }

/// Valid UTF-8 without surrogates and overlong forms.
bool isValidUtf8(std::string_view text);
/// Every maximal ill-formed part becomes one U+FFFD (the practice of the Unicode standard, and of Rust's lossy decoding).
std::string repairUtf8(std::string_view text);
bool isAscii(std::string_view text);
size_t countCodePoints(std::string_view text);
/// The first character, and the last; text is not empty.
char32_t firstCodePoint(std::string_view text);
char32_t lastCodePoint(std::string_view text);

bool isWhitespace(char32_t c);        // property White_Space
bool isNumber(char32_t c);            // N*
bool isPunctuation(char32_t c);       // P*, and ASCII punctuation
bool isMark(char32_t c);              // M*
bool isNonspacingMark(char32_t c);    // Mn
bool isControl(char32_t c);           // Cc, Cf, Cs, Co
bool isWordCharacter(char32_t c);     // \w: alphabetic, marks, decimal digits, connectors, join controls
bool isChineseCharacter(char32_t c);  // the CJK blocks that BERT puts spaces around

/// Appends the lower case of c, which may be two characters.
void appendLowercase(std::string& text, char32_t c);

}  // namespace headscope::core
