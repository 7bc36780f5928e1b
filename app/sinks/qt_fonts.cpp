#include "app/sinks/qt_fonts.h"

#include <QFontMetricsF>
#include <QGuiApplication>
#include <QImage>
#include <QRawFont>
#include <QStringList>
#include <QTextLayout>
#include <cstdio>

namespace headscope::app {
namespace {

constexpr double kMeasureSize = 100;  // big, so that rounding inside the font engine does not show

QFont fontOf(views::FontFace face, views::FontWeight weight, double size) {
  QStringList families;
  for (const std::string& family : fontFamilies(face)) families << QString::fromStdString(family);
  QFont font;
  font.setFamilies(families);
  font.setPointSizeF(size);
  font.setWeight(weight == views::FontWeight::SemiBold ? QFont::DemiBold : QFont::Normal);
  font.setHintingPreference(QFont::PreferNoHinting);
  font.setKerning(face == views::FontFace::Sans);
  // Programming ligatures would show "!=" as one sign: a token must be seen as it is.
  font.setStyleStrategy(face == views::FontFace::Mono ? static_cast<QFont::StyleStrategy>(QFont::PreferAntialias | QFont::PreferNoShaping)
                                                      : QFont::PreferAntialias);
  return font;
}

// A device of 72 dots an inch to measure against.
QImage& device() {
  static QImage* image = [] {  // never destroyed: no static destructor after the application's
    auto* made = new QImage(1, 1, QImage::Format_ARGB32);
    made->setDotsPerMeterX(2835), made->setDotsPerMeterY(2835);
    return made;
  }();
  return *image;
}

QFontMetricsF metrics(const views::Font& font) { return {fontOf(font.face, font.weight, kMeasureSize), &device()}; }

}  // namespace

const std::vector<std::string>& fontFamilies(views::FontFace face) {
  static const std::vector<std::string> sans{"Inter", "DejaVu Sans", "Noto Sans CJK SC", "Droid Sans Fallback"};
  static const std::vector<std::string> mono{"JetBrains Mono", "DejaVu Sans Mono", "Noto Sans Mono CJK SC", "DejaVu Sans",
                                             "Droid Sans Fallback"};
  return face == views::FontFace::Sans ? sans : mono;
}

QFont qtFont(const views::Font& font) { return fontOf(font.face, font.weight, font.size_pt); }

double QtTextMeasure::width(const std::string& text, const views::Font& font) const {
  if (text.empty()) return 0;
  std::string key;
  key.reserve(text.size() + 1);
  key += static_cast<char>('0' + static_cast<int>(font.face) * 2 + static_cast<int>(font.weight));
  key += text;
  const std::lock_guard lock(mutex_);
  if (widths_.size() > 100'000) widths_.clear();
  const auto [it, isNew] = widths_.try_emplace(std::move(key), 0.0);
  if (isNew) it->second = metrics(font).horizontalAdvance(QString::fromStdString(text)) / kMeasureSize;
  return it->second * font.size_pt;
}

double QtTextMeasure::ascent(const views::Font& font) const { return metrics(font).ascent() / kMeasureSize * font.size_pt; }
double QtTextMeasure::descent(const views::Font& font) const { return metrics(font).descent() / kMeasureSize * font.size_pt; }

bool QtTextMeasure::canShow(uint32_t codePoint, views::FontFace face) const {
  // Shape the character with all fallbacks and see whether any run came out as the missing glyph (index 0).
  const char32_t c = codePoint;
  QTextLayout layout(QString::fromUcs4(&c, 1), fontOf(face, views::FontWeight::Regular, 12));
  layout.beginLayout();
  layout.createLine();
  layout.endLayout();
  for (const QGlyphRun& run : layout.glyphRuns()) {
    for (const quint32 glyph : run.glyphIndexes()) {
      if (glyph == 0) return false;
    }
  }
  return true;
}

namespace {

// A command writes one line when it fails: Qt's remarks about the desktop it does not find, and libpng's, are not it.
void keepErrorsOnly(QtMsgType type, const QMessageLogContext&, const QString& message) {
  if (type == QtCriticalMsg || type == QtFatalMsg) std::fprintf(stderr, "headscope: %s\n", message.toLocal8Bit().constData());
}

}  // namespace

OffscreenApplication::OffscreenApplication() {
  if (QCoreApplication::instance() != nullptr) return;
  qInstallMessageHandler(keepErrorsOnly);
  // Outlive the application, which takes out of them what it has understood
  static char name[] = "headscope", option[] = "-platform", platform[] = "offscreen";
  static char* argv[4];
  static int argc;
  argv[0] = name, argv[1] = option, argv[2] = platform, argv[3] = nullptr, argc = 3;
  application_ = std::make_unique<QGuiApplication>(argc, argv);
}

OffscreenApplication::~OffscreenApplication() = default;

}  // namespace headscope::app
