#include "app/sinks/figure_session.h"

#include <QFile>
#include <QXmlStreamReader>
#include <string_view>

#include "app/sinks/attached_text.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/mapped_file.h"

namespace headscope::app {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kFileLimit = 512ull << 20;

[[noreturn]] void failNoSession(const fs::path& path) {
  throw core::Error("no Headscope session is inside", path.string(), "open a figure that Headscope exported, or a session file");
}

std::string orFail(std::string text, const fs::path& path) {
  if (text.empty()) failNoSession(path);
  return text;
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
    if (text.size() > kAttachedTextLimit) throw core::Error("the session inside has more than 32 MB", path.string());
    return text;
  }
  if (xml.hasError()) {
    throw core::Error("not valid XML at line " + std::to_string(xml.lineNumber()) + ": " + xml.errorString().toStdString(), path.string());
  }
  failNoSession(path);
}

}  // namespace

std::string sessionTextOf(const fs::path& path) {
  const auto file = core::MappedFile::open(path);
  const std::string_view bytes = textOf(*file);
  if (bytes.size() > kFileLimit) throw core::Error("the file has more than 512 MB", path.string());
  if (bytes.starts_with("%PDF-")) return orFail(attachedTextOfPdf(bytes, "headscope-session"), path);
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return orFail(textChunkOfPng(bytes, "headscope-session"), path);
  const size_t first = bytes.substr(0, 64).find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (first != std::string_view::npos && bytes[first] == '<') return sessionOfSvg(path);
  if (first != std::string_view::npos && bytes[first] == '{') return core::readTextFile(path, kAttachedTextLimit);
  throw core::Error("neither a session nor an SVG, PDF or PNG figure", path.string());
}

core::Session sessionFromFile(const fs::path& path) { return core::parseSession(sessionTextOf(path), path.string()); }

}  // namespace headscope::app
