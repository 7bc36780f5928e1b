#include "app/sinks/attached_text.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>

namespace headscope::app {
namespace {

constexpr int kMostAttachments = 64;
constexpr size_t kMarkWithin = 64;

// Inflates at most kAttachedTextLimit bytes; "" on any fault: the caller tries the next stream.
std::string inflateBounded(std::string_view data) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(std::min<size_t>(data.size(), UINT32_MAX));
  std::string out, piece(64u << 10, '\0');
  int status = Z_OK;
  while (status == Z_OK && out.size() <= kAttachedTextLimit) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(piece.data(), piece.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && out.size() <= kAttachedTextLimit ? out : std::string();
}

// The number of the object that /EF << /F N G R >> after `at` refers to; 0 when there is none near.
unsigned long referenceAfter(std::string_view pdf, size_t at) {
  const std::string_view near = pdf.substr(at, 256);
  size_t i = near.find("/F");
  while (i != std::string_view::npos && i + 2 < near.size() && near[i + 2] != ' ' && (near[i + 2] < '0' || near[i + 2] > '9'))
    i = near.find("/F", i + 2);
  if (i == std::string_view::npos) return 0;
  unsigned long number = 0;
  for (i += 2; i < near.size() && near[i] == ' '; ++i) {
  }
  for (; i < near.size() && near[i] >= '0' && near[i] <= '9' && number < 100'000'000; ++i)
    number = number * 10 + static_cast<unsigned long>(near[i] - '0');
  return number;
}

// What the stream of object `number` holds, inflated where it is compressed; "" when there is no such stream.
std::string streamOf(std::string_view pdf, unsigned long number) {
  const size_t object = pdf.find("\n" + std::to_string(number) + " 0 obj");
  const size_t start = object == std::string_view::npos ? object : pdf.find("stream", object);
  if (start == std::string_view::npos || start - object > 4096) return {};
  size_t data = start + 6;
  if (data < pdf.size() && pdf[data] == '\r') ++data;
  if (data < pdf.size() && pdf[data] == '\n') ++data;
  if (pdf.substr(object, start - object).find("/FlateDecode") != std::string_view::npos) return inflateBounded(pdf.substr(data));
  const size_t end = pdf.find("endstream", data);
  return end == std::string_view::npos || end - data > kAttachedTextLimit ? std::string() : std::string(pdf.substr(data, end - data));
}

uint32_t bigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

// What follows the first NUL of `rest`, which is moved there; false when there is none.
bool skipText(std::string_view& rest) {
  const size_t end = rest.find('\0');
  if (end == std::string_view::npos) return false;
  rest.remove_prefix(end + 1);
  return true;
}

std::string chunkText(std::string_view type, std::string_view rest) {  // rest: after keyword and NUL
  if (type == "tEXt") return std::string(rest);
  if (type == "zTXt") return rest.empty() || rest[0] != 0 ? std::string() : inflateBounded(rest.substr(1));
  if (rest.size() < 2) return {};
  const bool isCompressed = rest[0] == 1;
  rest.remove_prefix(2);
  if (!skipText(rest) || !skipText(rest)) return {};  // language, translated keyword
  return isCompressed ? inflateBounded(rest) : std::string(rest);
}

}  // namespace

// Every attached file is looked at, and the one that says what it is taken: no need to trust names, tables or lengths.
std::string attachedTextOfPdf(std::string_view pdf, std::string_view mark) {
  size_t at = 0;
  for (int tries = 0; tries < kMostAttachments && (at = pdf.find("/EF", at)) != std::string_view::npos; ++tries) {
    at += 3;
    const unsigned long number = referenceAfter(pdf, at);
    const std::string text = number > 0 ? streamOf(pdf, number) : std::string();
    if (text.find(mark) < kMarkWithin) return text;
  }
  return {};
}

std::string textChunkOfPng(std::string_view png, std::string_view keyword) {
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length = bigEndian(png.substr(at, 4));
    const std::string_view type = png.substr(at + 4, 4);
    if (length > png.size() - at - 12) break;
    std::string_view data = png.substr(at + 8, length);
    if ((type == "tEXt" || type == "zTXt" || type == "iTXt") && data.starts_with(keyword) && data.size() > keyword.size() &&
        data[keyword.size()] == 0) {
      data.remove_prefix(keyword.size() + 1);
      std::string text = chunkText(type, data);
      if (text.size() <= kAttachedTextLimit) return text;
    }
    at += 12 + length;
  }
  return {};
}

}  // namespace headscope::app
