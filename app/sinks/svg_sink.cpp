#include "app/sinks/svg_sink.h"

#include <QBuffer>
#include <QImage>
#include <cstdio>

#include "app/sinks/painter_sink.h"
#include "app/sinks/qt_fonts.h"
#include "views/token_text.h"

namespace headscope::app {
namespace {

std::string num(double v) {
  char text[48];
  std::snprintf(text, sizeof text, "%.3f", v);
  std::string s = text;
  while (s.back() == '0') s.pop_back();
  if (s.back() == '.') s.pop_back();
  return s == "-0" ? "0" : s;
}

// XML 1.0 knows no control characters, not even escaped; token_text has none left, session JSON escapes them itself.
std::string escape(const std::string& text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

std::string paint(const char* name, views::Color c) {
  if (c.a == 0) return std::string(" ") + name + "=\"none\"";
  char text[32];
  std::snprintf(text, sizeof text, " %s=\"#%02x%02x%02x\"", name, c.r, c.g, c.b);
  return c.a == 255 ? text : text + std::string(" ") + name + "-opacity=\"" + num(c.a / 255.0) + "\"";
}

std::string families(views::FontFace face) {
  std::string out;
  for (const std::string& family : fontFamilies(face)) out += (family.find(' ') == std::string::npos ? family : "'" + family + "'") + ", ";
  return out + (face == views::FontFace::Sans ? "sans-serif" : "monospace");
}

struct Writing {
  std::ostream& out;
  const SvgOptions& options;
  QtTextMeasure measure{};
  int clips = 0, open = 0;

  std::string stroke(views::Color color, double width) const {
    if (color.a == 0) return {};
    return paint("stroke", color) + " stroke-width=\"" + num(width > 0 ? width : options.hairline) + "\"";
  }
  static std::string box(const views::Rect& r) {
    return " x=\"" + num(r.x) + "\" y=\"" + num(r.y) + "\" width=\"" + num(r.width) + "\" height=\"" + num(r.height) + "\"";
  }

  void operator()(const views::RectItem& r) {
    if ((r.fill.a == 0 && r.stroke.a == 0) || r.rect.width < 0 || r.rect.height < 0) return;
    out << "<rect" << box(r.rect);
    if (r.radius > 0) out << " rx=\"" << num(r.radius) << "\"";
    out << paint("fill", r.fill) << stroke(r.stroke, r.strokeWidth) << "/>\n";
  }
  void operator()(const views::PolylineItem& line) {
    out << (line.isClosed ? "<polygon" : "<polyline") << " points=\"";
    for (size_t i = 0; i < line.points.size(); ++i) out << (i ? " " : "") << num(line.points[i].x) << "," << num(line.points[i].y);
    out << "\"" << paint("fill", line.isClosed ? line.fill : views::kTransparent) << stroke(line.stroke, line.strokeWidth)
        << " stroke-linejoin=\"round\"/>\n";
  }
  void operator()(const views::CurveItem& c) {
    out << "<path d=\"M" << num(c.a.x) << "," << num(c.a.y) << " C" << num(c.b.x) << "," << num(c.b.y) << " " << num(c.c.x) << ","
        << num(c.c.y) << " " << num(c.d.x) << "," << num(c.d.y) << "\" fill=\"none\"" << stroke(c.stroke, c.strokeWidth) << "/>\n";
  }
  void operator()(const views::TextItem& t) {
    if (t.text.empty()) return;
    static constexpr const char* kAnchor[] = {"start", "middle", "end"};
    const std::string text = t.maxWidth > 0 ? views::elide(t.text, t.font, t.maxWidth, measure) : t.text;
    const double y = baselineShift(t, measure);
    out << "<text font-family=\"" << families(t.font.face) << "\" font-size=\"" << num(t.font.size_pt) << "\"";
    // A token must be seen as it is: no sign for "!=".
    if (t.font.face == views::FontFace::Mono) out << " style=\"font-variant-ligatures:none\"";
    if (t.font.weight == views::FontWeight::SemiBold) out << " font-weight=\"600\"";
    if (t.anchorX != views::AnchorX::Left) out << " text-anchor=\"" << kAnchor[static_cast<int>(t.anchorX)] << "\"";
    if (t.angle_deg != 0) {
      out << " transform=\"translate(" << num(t.at.x) << "," << num(t.at.y) << ") rotate(" << num(t.angle_deg) << ")\"";
      if (y != 0) out << " y=\"" << num(y) << "\"";
    } else {
      out << " x=\"" << num(t.at.x) << "\" y=\"" << num(t.at.y + y) << "\"";
    }
    out << paint("fill", t.color) << ">" << escape(text) << "</text>\n";
  }
  void operator()(const views::ImageItem& i) {
    if (!i.image || i.image->width <= 0 || i.image->height <= 0) return;
    const QImage image(i.image->rgba.data(), i.image->width, i.image->height, i.image->width * 4, QImage::Format_RGBA8888);
    QByteArray png;
    QBuffer buffer(&png);
    buffer.open(QIODevice::WriteOnly);
    image.save(&buffer, "PNG");
    out << "<image" << box(i.rect) << " preserveAspectRatio=\"none\"";
    if (!i.isSmooth) out << " image-rendering=\"optimizeSpeed\" style=\"image-rendering:pixelated\"";
    out << " xlink:href=\"data:image/png;base64," << png.toBase64().constData() << "\"/>\n";
  }
  void operator()(const views::HatchItem& h) {
    out << "<path d=\"";
    for (const auto& [a, b] : hatchLines(h.rect, 3)) out << "M" << num(a.x) << "," << num(a.y) << "L" << num(b.x) << "," << num(b.y);
    out << "\" fill=\"none\"" << stroke(h.color, 0.4) << "/>\n";
  }
  void operator()(const views::ClipItem& c) {
    if (c.rect) {
      out << "<clipPath id=\"clip" << clips << "\"><rect" << box(*c.rect) << "/></clipPath>\n<g clip-path=\"url(#clip" << clips << ")\">\n";
      ++clips, ++open;
    } else if (open > 0) {
      out << "</g>\n";
      --open;
    }
  }
};

}  // namespace

void writeSvg(std::ostream& out, const views::Figure& figure, const SvgOptions& options) {
  const std::string width = num(figure.size.width), height = num(figure.size.height);
  out << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
         "xmlns:xlink=\"http://www.w3.org/1999/xlink\" version=\"1.1\" xml:space=\"preserve\" width=\""
      << width << options.unit << "\" height=\"" << height << options.unit << "\" viewBox=\"0 0 " << width << " " << height << "\">\n";
  if (!figure.title.empty()) out << "<title>" << escape(figure.title) << "</title>\n";
  if (!options.description.empty()) out << "<desc>" << escape(options.description) << "</desc>\n";
  if (!options.sessionJson.empty()) out << "<metadata id=\"headscope-session\">" << escape(options.sessionJson) << "</metadata>\n";
  if (figure.background.a > 0)
    out << "<rect width=\"" << width << "\" height=\"" << height << "\"" << paint("fill", figure.background) << "/>\n";
  Writing writing{out, options};
  for (const views::Item& item : figure.content) std::visit(writing, item.shape);
  for (; writing.open > 0; --writing.open) out << "</g>\n";
  out << "</svg>\n";
}

}  // namespace headscope::app
