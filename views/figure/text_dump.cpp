#include "views/figure/text_dump.h"

#include <cstdio>

namespace headscope::views {
namespace {

// Two decimals without trailing zeros: what a golden line needs, and immune to the last bits of a sum.
std::string num(double v) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", v);
  std::string s = text;
  while (s.back() == '0') s.pop_back();
  if (s.back() == '.') s.pop_back();
  return s == "-0" ? "0" : s;
}

std::string at(Point p) { return num(p.x) + "," + num(p.y); }
std::string box(Rect r) { return num(r.x) + "," + num(r.y) + " " + num(r.width) + "x" + num(r.height); }

std::string hex(Color c) {
  char text[16];
  if (c.a == 255)
    std::snprintf(text, sizeof text, "#%02X%02X%02X", c.r, c.g, c.b);
  else
    std::snprintf(text, sizeof text, "#%02X%02X%02X%02X", c.r, c.g, c.b, c.a);
  return c.a == 0 ? "none" : text;
}

uint32_t checksum(const std::vector<uint8_t>& bytes) {  // FNV-1a
  uint32_t h = 2166136261u;
  for (const uint8_t b : bytes) h = (h ^ b) * 16777619u;
  return h;
}

struct Line {
  std::string operator()(const RectItem& r) const {
    std::string s = "rect " + box(r.rect) + " fill " + hex(r.fill);
    if (r.stroke.a > 0) s += " stroke " + hex(r.stroke) + " " + num(r.strokeWidth);
    if (r.radius > 0) s += " radius " + num(r.radius);
    return s;
  }
  std::string operator()(const PolylineItem& l) const {
    std::string s = l.isClosed ? "polygon" : "line";
    for (const Point p : l.points) s += " " + at(p);
    s += " stroke " + hex(l.stroke) + " " + num(l.strokeWidth);
    if (l.isClosed && l.fill.a > 0) s += " fill " + hex(l.fill);
    return s;
  }
  std::string operator()(const CurveItem& c) const {
    return "curve " + at(c.a) + " " + at(c.b) + " " + at(c.c) + " " + at(c.d) + " stroke " + hex(c.stroke) + " " + num(c.strokeWidth);
  }
  std::string operator()(const TextItem& t) const {
    static constexpr const char* kX[] = {"left", "center", "right"};
    static constexpr const char* kY[] = {"top", "middle", "baseline", "bottom"};
    std::string s = "text " + at(t.at) + " \"" + t.text + "\" " + (t.font.face == FontFace::Mono ? "mono " : "sans ") + num(t.font.size_pt);
    if (t.font.weight == FontWeight::SemiBold) s += " semibold";
    s += std::string(" ") + kX[static_cast<int>(t.anchorX)] + " " + kY[static_cast<int>(t.anchorY)] + " " + hex(t.color);
    if (t.angle_deg != 0) s += " angle " + num(t.angle_deg);
    if (t.maxWidth > 0) s += " max " + num(t.maxWidth);
    return s;
  }
  std::string operator()(const ImageItem& i) const {
    if (!i.image) return "image " + box(i.rect) + " none";
    char sum[16];
    std::snprintf(sum, sizeof sum, "%08x", checksum(i.image->rgba));
    return "image " + box(i.rect) + " pixels " + std::to_string(i.image->width) + "x" + std::to_string(i.image->height) + " " + sum +
           (i.isSmooth ? " smooth" : "");
  }
  std::string operator()(const HatchItem& h) const { return "hatch " + box(h.rect) + " " + hex(h.color); }
  std::string operator()(const ClipItem& c) const { return c.rect ? "clip " + box(*c.rect) : "unclip"; }
};

void dumpItems(const std::vector<Item>& items, std::string& out) {
  static constexpr const char* kKinds[] = {"", "head", "cell", "token", "query", "key", "edge", "value", "control"};
  for (const Item& item : items) {
    out += std::visit(Line{}, item.shape);
    if (item.pick.kind != Pick::Kind::None) {
      out += std::string(" pick ") + kKinds[static_cast<int>(item.pick.kind)];
      for (const int64_t v : {item.pick.a, item.pick.b, item.pick.c}) {
        if (v >= 0) out += " " + std::to_string(v);
      }
    }
    out += "\n";
  }
}

}  // namespace

std::string dumpFigure(const Figure& figure, bool withOverlay) {
  std::string out = "figure " + num(figure.size.width) + "x" + num(figure.size.height) + " " + hex(figure.background);
  if (!figure.title.empty()) out += " \"" + figure.title + "\"";
  out += "\n";
  dumpItems(figure.content, out);
  if (withOverlay) {
    out += "overlay\n";
    dumpItems(figure.overlay, out);
  }
  return out;
}

}  // namespace headscope::views
