#pragma once
// ByteAlphabet: GPT-2's printable character for each of the 256 bytes ("Ġ" for a space), and back.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace headscope::core {

class ByteAlphabet {
 public:
  ByteAlphabet();
  char32_t charOf(uint8_t byte) const { return chars_[byte]; }
  /// -1 when the character stands for no byte.
  int byteOf(char32_t c) const { return c < bytes_.size() ? bytes_[c] : -1; }
  /// Appends the characters that stand for the bytes of text.
  void appendMapped(std::string& out, std::string_view text) const;
  /// Appends the bytes that the characters of piece stand for; false (and nothing appended) when one stands for none.
  bool appendBytes(std::string& out, std::string_view piece) const;

 private:
  std::array<char32_t, 256> chars_;
  std::array<int16_t, 324> bytes_;
};

}  // namespace headscope::core
