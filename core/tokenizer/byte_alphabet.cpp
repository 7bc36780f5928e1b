#include "core/tokenizer/byte_alphabet.h"

#include "core/tokenizer/unicode.h"

namespace headscope::core {

ByteAlphabet::ByteAlphabet() {
  bytes_.fill(-1);
  char32_t next = 256;  // bytes without a printable Latin-1 character get the characters from U+0100 on, in order
  for (int byte = 0; byte < 256; ++byte) {
    const bool isPrintable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const char32_t c = isPrintable ? static_cast<char32_t>(byte) : next++;
    chars_[static_cast<size_t>(byte)] = c;
    bytes_[c] = static_cast<int16_t>(byte);
  }
}

void ByteAlphabet::appendMapped(std::string& out, std::string_view text) const {
  for (const char c : text) appendUtf8(out, charOf(static_cast<uint8_t>(c)));
}

bool ByteAlphabet::appendBytes(std::string& out, std::string_view piece) const {
  const size_t before = out.size();
  for (size_t at = 0; at < piece.size();) {
    const DecodedChar c = decodeUtf8(piece, at);
    const int byte = byteOf(c.value);
    if (byte < 0) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(byte));
    at += c.length;
  }
  return true;
}

}  // namespace headscope::core
