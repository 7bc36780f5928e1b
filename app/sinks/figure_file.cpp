#include "app/sinks/figure_file.h"

#include <QBuffer>
#include <QImage>
#include <QImageWriter>
#include <QPainter>
#include <QPdfWriter>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "app/sinks/painter_sink.h"
#include "app/sinks/qt_fonts.h"
#include "app/sinks/svg_sink.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "views/mechanism_words.h"
#include "views/token_text.h"

namespace headscope::app {
namespace fs = std::filesystem;
namespace {

constexpr double kHairline = 0.25;         // points
constexpr double kLargestPixels = 32'000;  // a side of a PNG

void writeBytes(const fs::path& path, const QByteArray& bytes) {
  core::writeFileWhole(path, [&](std::ostream& out) { out.write(bytes.constData(), bytes.size()); });
}

// Qt writes the hour of the day into every PDF; the same figure shall give the same bytes. Same length, so no offset moves.
void fixDates(QByteArray& pdf) {
  static constexpr char kKey[] = "/CreationDate (D:";
  for (qsizetype at = pdf.indexOf(kKey); at >= 0; at = pdf.indexOf(kKey, at + 1)) {
    for (qsizetype i = at + static_cast<qsizetype>(std::strlen(kKey)); i < pdf.size() && pdf[i] != ')'; ++i) {
      if (pdf[i] >= '0' && pdf[i] <= '9') pdf[i] = '0';
    }
    const qsizetype day = at + static_cast<qsizetype>(std::strlen(kKey));
    if (day + 8 < pdf.size()) std::memcpy(pdf.data() + day, "20000101", 8);
  }
}

// Qt rounds pages to whole points. The width is what journals ask for: put the exact one into the same number of characters.
void fixPageWidth(QByteArray& pdf, double width) {
  static constexpr char kKey[] = "/MediaBox [0 0 ";
  const qsizetype key = pdf.indexOf(kKey);
  if (key < 0) return;
  const qsizetype from = key + static_cast<qsizetype>(std::strlen(kKey)), to = pdf.indexOf(' ', from);
  const QByteArray exact = QByteArray::number(width, 'f', 6);
  if (to - from == exact.size()) pdf.replace(from, exact.size(), exact);
}

QByteArray pdfOf(const views::Figure& figure, const std::string& sessionJson) {
  QByteArray bytes;
  QBuffer buffer(&bytes);
  buffer.open(QIODevice::WriteOnly);
  {
    QPdfWriter writer(&buffer);
    writer.setResolution(72);
    writer.setCreator(QStringLiteral("Headscope"));
    writer.setTitle(QString::fromStdString(figure.title));
    const QSizeF points(std::ceil(figure.size.width), std::ceil(figure.size.height));
    writer.setPageSize(QPageSize(points, QPageSize::Point, QStringLiteral("figure"), QPageSize::ExactMatch));
    writer.setPageMargins(QMarginsF(0, 0, 0, 0));
    writer.addFileAttachment(QStringLiteral("headscope-session.json"), QByteArray::fromStdString(sessionJson),
                             QStringLiteral("application/json"));
    QPainter painter(&writer);
    if (!painter.isActive()) throw core::Error("the PDF writer did not start");
    paintFigure(painter, figure, kHairline);
  }
  fixDates(bytes);
  fixPageWidth(bytes, figure.size.width);
  return bytes;
}

QByteArray pngOf(const views::Figure& figure, const std::string& sessionJson, double scale) {
  if (!(scale > 0) || figure.size.width * scale > kLargestPixels || figure.size.height * scale > kLargestPixels) {
    throw core::Error("a picture of this scale would have more than 32,000 pixels a side", "", "choose fewer pixels a point");
  }
  QImage image(std::max(1, static_cast<int>(std::lround(figure.size.width * scale))),
               std::max(1, static_cast<int>(std::lround(figure.size.height * scale))), QImage::Format_ARGB32_Premultiplied);
  if (image.isNull()) throw core::Error("not enough memory for a picture of this scale", "", "choose fewer pixels a point");
  image.setDotsPerMeterX(2835), image.setDotsPerMeterY(2835);  // 72 an inch while painting: a point is a logical pixel
  const views::Color ground = figure.background;
  image.fill(QColor(ground.r, ground.g, ground.b, ground.a));
  {
    QPainter painter(&image);
    painter.scale(scale, scale);
    paintFigure(painter, figure, std::max(kHairline, 1 / scale), scale);
  }
  const int dotsPerMeter = static_cast<int>(std::lround(72 / 0.0254 * scale));
  image.setDotsPerMeterX(dotsPerMeter), image.setDotsPerMeterY(dotsPerMeter);
  image.setText(QStringLiteral("headscope-session"), QString::fromStdString(sessionJson));
  QByteArray bytes;
  QBuffer buffer(&bytes);
  buffer.open(QIODevice::WriteOnly);
  QImageWriter writer(&buffer, "png");
  if (!writer.write(image)) throw core::Error("can't make the PNG: " + writer.errorString().toStdString());
  return bytes;
}

std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string out = "\"";
  for (const char c : field) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

}  // namespace

void writeFigure(const fs::path& path, const views::Figure& figure, const core::Session& session, const FigureFileOptions& options) {
  const std::string json = core::toJson(session);
  const std::string ending = path.extension().string();
  if (ending == ".svg") {
    SvgOptions svg;
    svg.hairline = kHairline;
    svg.sessionJson = json;
    svg.description = figure.caption;
    core::writeFileWhole(path, [&](std::ostream& out) { writeSvg(out, figure, svg); });
  } else if (ending == ".pdf") {
    writeBytes(path, pdfOf(figure, json));
  } else if (ending == ".png") {
    writeBytes(path, pngOf(figure, json, options.pixelsPerPoint));
  } else {
    throw core::Error("figures are written as .svg, .pdf or .png, not \"" + ending + "\"", path.string());
  }
}

void writeCsv(const fs::path& path, const views::Table& table) {
  const auto writeRow = [](std::ostream& out, const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) out << (i ? "," : "") << quoted(row[i]);
    out << "\n";
  };
  core::writeFileWhole(path, [&](std::ostream& out) {
    writeRow(out, table.columns);
    for (const auto& row : table.rows) writeRow(out, row);
  });
}

std::string captionText(const views::Figure& figure, const core::Session& session) {
  std::string text = figure.caption + "\n";
  text += "Model: " + session.model + (session.modelHash.empty() ? "" : " (" + session.modelHash + ")") + "\n";
  if (!session.adapter.empty()) text += "Adapter: " + session.adapter + " at strength " + std::to_string(session.strength) + "\n";
  if (!session.prompt.empty()) text += "Prompt: " + views::plainText(session.prompt) + "\n";
  if (!session.ids.empty()) {
    text += "Token ids:";
    for (const int32_t id : session.ids) text += " " + std::to_string(id);
    text += "\n";
  }
  if (!session.image.empty()) text += "Image: " + session.image + "\n";
  text +=
      "Mechanism: " + (session.mechanism.empty() ? "softmax attention as trained" : session.mechanism + views::whatIf(session.mechanism)) +
      (session.replacedHeads.empty() ? "" : ", in heads " + session.replacedHeads) + "\n";
  return text + "Made with Headscope " HEADSCOPE_VERSION "\n";
}

void writeCaption(const fs::path& figurePath, const views::Figure& figure, const core::Session& session) {
  fs::path path = figurePath;
  path.replace_extension(".txt");
  core::writeFileWhole(path, [&](std::ostream& out) { out << captionText(figure, session); });
}

}  // namespace headscope::app
