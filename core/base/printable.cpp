#include "core/base/printable.h"

#include <utf8proc.h>

namespace headscope::core {

std::string printable(std::string_view text, size_t limit) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  size_t at = 0;
  while (at < text.size() && out.size() < limit) {
    utf8proc_int32_t code = -1;
    const auto left = static_cast<utf8proc_ssize_t>(text.size() - at);
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at, left, &code);
    const bool isPlain = length > 0 && code >= 0x20 && code != 0x7F && !(code >= 0x80 && code < 0xA0);
    const size_t taken = length > 0 ? static_cast<size_t>(length) : 1;
    for (size_t i = 0; i < taken; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      if (isPlain) {
        out += static_cast<char>(byte);
      } else {
        out += "\\x";
        out += kDigits[byte >> 4];
        out += kDigits[byte & 15];
      }
    }
    at += taken;
  }
  if (at < text.size()) out += "...";
  return out;
}

}  // namespace headscope::core
