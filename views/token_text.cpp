#include "views/token_text.h"

#include <algorithm>
#include <cstdio>

namespace headscope::views {
namespace {

void appendCodePoint(std::string& out, int32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string format(const char* pattern, unsigned value) {
  char text[24];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

bool isIn(int32_t c, int32_t first, int32_t last) { return c >= first && c <= last; }

// Characters that show nothing or change the direction of what follows: they would make two tokens look alike.
bool isInvisible(int32_t c) {
  return isIn(c, 0x80, 0x9F) || c == 0xAD || c == 0x061C || c == 0x180E || isIn(c, 0x200B, 0x200F) || isIn(c, 0x2028, 0x202E) ||
         isIn(c, 0x2060, 0x206F) || c == 0xFEFF || isIn(c, 0xFFF0, 0xFFFB) || isIn(c, 0xFE00, 0xFE0F) || isIn(c, 0xE000, 0xF8FF) ||
         isIn(c, 0xE0000, 0xE0FFF) || c >= 0xF0000 || (c & 0xFFFE) == 0xFFFE;
}

bool isWideSpace(int32_t c) { return c == 0xA0 || c == 0x1680 || isIn(c, 0x2000, 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000; }

bool isCombining(int32_t c) {
  return isIn(c, 0x0300, 0x036F) || isIn(c, 0x0483, 0x0489) || isIn(c, 0x0591, 0x05BD) || isIn(c, 0x064B, 0x065F) ||
         isIn(c, 0x1AB0, 0x1AFF) || isIn(c, 0x1DC0, 0x1DFF) || isIn(c, 0x20D0, 0x20FF) || isIn(c, 0xFE20, 0xFE2F);
}

void appendVisible(std::string& out, int32_t c, bool isFirst) {
  if (c == ' ')
    out += "·";
  else if (c == '\n')
    out += "↵";
  else if (c == '\t')
    out += "⇥";
  else if (c == '\r')
    out += "\\r";
  else if (c < 0x20 || c == 0x7F)
    out += format("\\x%02X", static_cast<unsigned>(c));
  else if (isInvisible(c) || isWideSpace(c))
    out += format("\\u{%X}", static_cast<unsigned>(c));
  else {
    if (isFirst && isCombining(c)) out += "◌";
    appendCodePoint(out, c);
  }
}

void appendInvalid(std::string& out, std::string_view byte) { out += format("\\x%02X", static_cast<uint8_t>(byte[0])); }

/// Calls each(character, its bytes, whether it is the first) for every code point; -1 for an invalid byte.
template <typename Each>
void forEachCodePoint(std::string_view text, const Each& each) {
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const int32_t c = nextCodePoint(text, at);
    each(c, text.substr(begin, at - begin), begin == 0);
  }
}

}  // namespace

int32_t nextCodePoint(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0u; };
  const unsigned lead = byte(at);
  const int length = lead < 0x80                   ? 1
                     : lead >= 0xC2 && lead < 0xE0 ? 2
                     : lead >= 0xE0 && lead < 0xF0 ? 3
                     : lead >= 0xF0 && lead < 0xF5 ? 4
                                                   : 0;
  if (length == 1) return static_cast<int32_t>(text[at++]);
  int32_t c = length == 2 ? lead & 0x1F : length == 3 ? lead & 0x0F : lead & 0x07;
  bool isValid = length > 0;
  for (int i = 1; i < length && isValid; ++i) {
    const unsigned next = byte(at + static_cast<size_t>(i));
    isValid = (next & 0xC0) == 0x80;
    c = (c << 6) | static_cast<int32_t>(next & 0x3F);
  }
  if (isValid)
    isValid = length == 2 || (length == 3 && c >= 0x800 && !isIn(c, 0xD800, 0xDFFF)) || (length == 4 && isIn(c, 0x10000, 0x10FFFF));
  at += isValid ? static_cast<size_t>(length) : 1;
  return isValid ? c : -1;
}

std::string visibleText(std::string_view bytes) {
  std::string out;
  forEachCodePoint(
      bytes, [&](int32_t c, std::string_view piece, bool isFirst) { c < 0 ? appendInvalid(out, piece) : appendVisible(out, c, isFirst); });
  return out;
}

std::string tokenLabel(const core::Token& token) {
  if (token.isSpecial && !token.piece.empty()) return visibleText(token.piece);
  if (!token.bytes.empty()) return visibleText(token.bytes);
  if (!token.piece.empty()) return visibleText(token.piece);
  return "#" + std::to_string(token.id);
}

std::string plainText(std::string_view bytes) {
  std::string out;
  forEachCodePoint(bytes, [&](int32_t c, std::string_view piece, bool isFirst) {
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
      out += ' ';
    } else {
      c < 0 ? appendInvalid(out, piece) : appendVisible(out, c, isFirst);
    }
  });
  return out;
}

std::string escapeBeyondBmp(std::string_view utf8) {
  std::string out;
  forEachCodePoint(utf8, [&](int32_t c, std::string_view piece, bool) {
    if (c < 0) {
      appendInvalid(out, piece);
    } else if (c > 0xFFFF) {
      out += format("U+%X", static_cast<unsigned>(c));
    } else {
      out += piece;
    }
  });
  return out;
}

std::string escapeMissing(const std::string& utf8, FontFace face, const TextMeasure& measure) {
  std::string out;
  forEachCodePoint(utf8, [&](int32_t c, std::string_view piece, bool) {
    const bool isMissing = c > 0x7F && !measure.canShow(static_cast<uint32_t>(c), face);
    out += isMissing ? format("U+%X", static_cast<unsigned>(c)) : std::string(piece);
  });
  return out;
}

std::string elide(const std::string& text, const Font& font, double width, const TextMeasure& measure) {
  if (measure.width(text, font) <= width) return text;
  std::vector<size_t> ends;  // byte offset after each code point
  for (size_t at = 0; at < text.size();) {
    nextCodePoint(text, at);
    ends.push_back(at);
  }
  size_t low = 0, high = ends.size();  // characters kept: `low` fits, `high` does not
  const auto cut = [&](size_t kept) { return text.substr(0, kept == 0 ? 0 : ends[kept - 1]) + "…"; };
  if (measure.width(cut(0), font) > width) return {};
  while (high - low > 1) {
    const size_t mid = (low + high) / 2;
    (measure.width(cut(mid), font) <= width ? low : high) = mid;
  }
  return cut(low);
}

}  // namespace headscope::views
