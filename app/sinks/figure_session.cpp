#include "app/sinks/figure_session.h"

#include <zlib.h>

#include <QFile>
#include <QImageReader>
#include <QXmlStreamReader>
#include <algorithm>
#include <string_view>

#include "core/base/error.h"
#include "core/base/files.h"

namespace headscope::app {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kFileLimit = 512ull << 20;
constexpr size_t kSessionLimit = 32u << 20;
constexpr int kMostAttachments = 64;

[[noreturn]] void failNoSession(const fs::path& path) {
  throw core::Error("no Headscope session is inside", path.string(), "open a figure that Headscope exported, or a session file");
}

std::string_view textOf(const core::MappedFile& file) { return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}; }

std::string sessionOfSvg(const fs::path& path) {
  QFile file(QString::fromStdString(path.string()));
  if (!file.open(QIODevice::ReadOnly)) throw core::Error("can't read the file", path.string());
  QXmlStreamReader xml(&file);
  while (!xml.atEnd()) {
    if (xml.readNext() != QXmlStreamReader::StartElement || xml.name() != QLatin1String("metadata") ||
        xml.attributes().value(QLatin1String("id")) != QLatin1String("headscope-session")) {
      continue;
    }
    const std::string text = xml.readElementText(QXmlStreamReader::SkipChildElements).toStdString();
    if (xml.hasError()) break;
    if (text.size() > kSessionLimit) throw core::Error("the session inside has more than 32 MB", path.string());
    return text;
  }
  if (xml.hasError()) {
    throw core::Error("not valid XML at line " + std::to_string(xml.lineNumber()) + ": " + xml.errorString().toStdString(), path.string());
  }
  failNoSession(path);
}

// Inflates at most kSessionLimit bytes; "" on any fault: the caller tries the next stream.
std::string inflateBounded(std::string_view data) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(std::min<size_t>(data.size(), UINT32_MAX));
  std::string out, piece(64u << 10, '\0');
  int status = Z_OK;
  while (status == Z_OK && out.size() <= kSessionLimit) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(piece.data(), piece.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && out.size() <= kSessionLimit ? out : std::string();
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
  return end == std::string_view::npos || end - data > kSessionLimit ? std::string() : std::string(pdf.substr(data, end - data));
}

// Every attached file is looked at, and the one that says what it is taken: no need to trust names, tables or lengths.
std::string sessionOfPdf(const fs::path& path, std::string_view pdf) {
  size_t at = 0;
  for (int tries = 0; tries < kMostAttachments && (at = pdf.find("/EF", at)) != std::string_view::npos; ++tries) {
    at += 3;
    const unsigned long number = referenceAfter(pdf, at);
    const std::string text = number > 0 ? streamOf(pdf, number) : std::string();
    if (text.find("headscope-session") < 64) return text;
  }
  failNoSession(path);
}

std::string sessionOfPng(const fs::path& path) {
  QImageReader reader(QString::fromStdString(path.string()), "png");
  const QString text = reader.text(QStringLiteral("headscope-session"));
  if (text.isEmpty()) failNoSession(path);
  return text.toStdString();
}

}  // namespace

std::string sessionTextOf(const fs::path& path) {
  const auto file = core::MappedFile::open(path);
  const std::string_view bytes = textOf(*file);
  if (bytes.size() > kFileLimit) throw core::Error("the file has more than 512 MB", path.string());
  if (bytes.starts_with("%PDF-")) return sessionOfPdf(path, bytes);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return sessionOfPng(path);
  const size_t first = bytes.substr(0, 64).find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (first != std::string_view::npos && bytes[first] == '<') return sessionOfSvg(path);
  if (first != std::string_view::npos && bytes[first] == '{') return core::readTextFile(path, kSessionLimit);
  throw core::Error("neither a session nor an SVG, PDF or PNG figure", path.string());
}

core::Session sessionFromFile(const fs::path& path) { return core::parseSession(sessionTextOf(path), path.string()); }

}  // namespace headscope::app
