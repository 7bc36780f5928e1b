#include "views/figure/imgui_sink_fonts.h"

#include <imgui.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/error.h"

namespace headscope::views {
namespace {

static_assert(sizeof(ImWchar) == 2, "glyph sets hold what this Dear ImGui can draw: 16 bits");

constexpr size_t kMostGlyphs = 6000;  // over all fonts; beyond, only what the next frame draws is kept

uint32_t bigEndian(const std::byte* p, int bytes) {
  uint32_t v = 0;
  for (int i = 0; i < bytes; ++i) v = v << 8 | static_cast<uint32_t>(p[i]);
  return v;
}

/// Offset of a table in an sfnt file (the first font of a collection), 0 when absent or cut short.
size_t sfntTable(std::span<const std::byte> bytes, const char* tag, size_t length) {
  size_t start = 0;
  if (bytes.size() < 32) return 0;
  if (std::memcmp(bytes.data(), "ttcf", 4) == 0) start = bigEndian(bytes.data() + 12, 4);
  if (start + 12 > bytes.size()) return 0;
  const size_t count = bigEndian(bytes.data() + start + 4, 2);
  for (size_t i = 0; i < count && start + 12 + (i + 1) * 16 <= bytes.size(); ++i) {
    const std::byte* record = bytes.data() + start + 12 + i * 16;
    if (std::memcmp(record, tag, 4) != 0) continue;
    const size_t offset = bigEndian(record + 8, 4);
    return offset + length <= bytes.size() ? offset : 0;
  }
  return 0;
}

/// Next code point of UTF-8; invalid bytes give U+FFFD one at a time.
uint32_t nextCodePoint(const char*& p, const char* end) {
  const auto lead = static_cast<unsigned char>(*p++);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 && lead < 0xF8 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC2 ? 1 : 0;
  if (more == 0 || lead >= 0xF8 || end - p < more) return 0xFFFD;
  uint32_t v = lead & (0x3F >> more);
  for (int i = 0; i < more; ++i) {
    const auto next = static_cast<unsigned char>(p[i]);
    if ((next & 0xC0) != 0x80) return 0xFFFD;
    v = v << 6 | (next & 0x3F);
  }
  p += more;
  return v;
}

ImU32 packed(Color c) { return IM_COL32(c.r, c.g, c.b, c.a); }

}  // namespace

ImGuiFonts::ImGuiFonts(FontFiles files) : files_(std::move(files)) {
  if (!file(files_.sans) && !file(files_.mono) && files_.fallbacks.empty())
    throw core::Error("no font file found for the window's pictures", "", "install fonts-dejavu-core");
}
ImGuiFonts::~ImGuiFonts() = default;

const ImGuiFonts::File* ImGuiFonts::file(const std::string& path) {
  if (path.empty()) return nullptr;
  const auto found = open_.find(path);
  if (found != open_.end()) return found->second.map ? &found->second : nullptr;
  File& made = open_[path];
  try {
    made.map = core::MappedFile::open(path);
  } catch (const core::Error&) {
    return nullptr;  // a font that went away since it was listed: the fallbacks serve
  }
  const auto bytes = made.map->bytes();
  const size_t head = sfntTable(bytes, "head", 54), hhea = sfntTable(bytes, "hhea", 36);
  if (head == 0 || hhea == 0) {
    made.map.reset();
    return nullptr;
  }
  const double unitsPerEm = std::max<uint32_t>(1, bigEndian(bytes.data() + head + 18, 2));
  const auto ascent = static_cast<int16_t>(bigEndian(bytes.data() + hhea + 4, 2));
  const auto descent = static_cast<int16_t>(bigEndian(bytes.data() + hhea + 6, 2));
  made.heightPerEm = (ascent - descent) / unitsPerEm;
  made.ascentPerEm = ascent / unitsPerEm;
  return &made;
}

const std::string& ImGuiFonts::pathFor(FontFace face, FontWeight weight) const {
  const std::string& regular = face == FontFace::Mono ? files_.mono : files_.sans;
  const std::string& heavy = face == FontFace::Mono ? files_.monoSemiBold : files_.sansSemiBold;
  const std::string& wanted = weight == FontWeight::SemiBold && !heavy.empty() ? heavy : regular;
  return wanted.empty() && !files_.fallbacks.empty() ? files_.fallbacks.front() : wanted;
}

ImGuiFonts::Entry& ImGuiFonts::entryFor(const Font& font) {
  const Key key{font.face, font.weight, static_cast<int>(std::lround(std::clamp(font.size_pt, 2.0, 96.0) * pixelRatio_ * 4))};
  const auto [it, isNew] = entries_.try_emplace(key);
  if (isNew) {
    isDirty_ = true;
    for (uint16_t c = 0x20; c < 0x7F; ++c) it->second.wanted.insert(c);
    for (const uint16_t c : {0xB7, 0xD7, 0x2026, 0xFFFD}) it->second.wanted.insert(c);
  }
  return it->second;
}

void ImGuiFonts::setPixelRatio(double ratio) {
  if (std::abs(ratio - pixelRatio_) < 1e-6) return;
  pixelRatio_ = ratio;
  entries_.clear();
  isDirty_ = true;
}

void ImGuiFonts::addToAtlas(ImFontAtlas& atlas, const Key& key, Entry& entry) {
  entry.ranges.clear();
  bool isWide = false;
  for (const uint16_t c : entry.wanted) {
    isWide = isWide || c > 0x24F;
    if (!entry.ranges.empty() && entry.ranges.back() + 1 == c) {
      entry.ranges.back() = c;
    } else {
      entry.ranges.insert(entry.ranges.end(), {c, c});
    }
  }
  entry.ranges.push_back(0);
  std::vector<std::string> paths{pathFor(key.face, key.weight)};
  if (isWide) paths.insert(paths.end(), files_.fallbacks.begin(), files_.fallbacks.end());
  entry.font = nullptr;
  for (const std::string& path : paths) {
    const File* source = file(path);
    if (!source) continue;
    const auto bytes = source->map->bytes();
    ImFontConfig config;
    // The atlas only reads the bytes; its interface lacks the const.
    config.FontData = const_cast<std::byte*>(bytes.data());
    config.FontDataSize = static_cast<int>(bytes.size());
    config.FontDataOwnedByAtlas = false;
    // Dear ImGui sizes by ascent - descent, type by the em.
    config.SizePixels = static_cast<float>(key.quarterPixels / 4.0 * source->heightPerEm);
    config.OversampleH = pixelRatio_ >= 1.75 ? 2 : 3;
    config.GlyphRanges = entry.ranges.data();
    config.MergeMode = entry.font != nullptr;
    ImFont* font = atlas.AddFont(&config);
    if (!entry.font) entry.font = font;
  }
}

void ImGuiFonts::rebuild(ImFontAtlas& atlas) {
  size_t glyphs = 0;
  for (const auto& [key, entry] : entries_) glyphs += entry.wanted.size();
  if (glyphs > kMostGlyphs) entries_.clear();
  entryFor(Font{});
  atlas.Clear();
  atlas.TexGlyphPadding = 1;
  for (auto& [key, entry] : entries_) addToAtlas(atlas, key, entry);
  atlas.Build();
  isDirty_ = false;
}

ImFont* ImGuiFonts::widgetFont(const Font& font) { return entryFor(font).font; }

std::string ImGuiFonts::escaped(uint32_t codePoint) const {
  char text[16];
  std::snprintf(text, sizeof text, "\\u{%X}", codePoint);
  return text;
}

template <class Visit>
void ImGuiFonts::forEachGlyph(Entry& entry, const std::string& text, Visit visit) {
  const char* p = text.data();
  for (const char* const end = p + text.size(); p < end;) {
    const uint32_t c = nextCodePoint(p, end);
    if (c <= 0xFFFF) {
      if (entry.wanted.insert(static_cast<uint16_t>(c)).second) isDirty_ = true;
      const ImFontGlyph* glyph = entry.font ? entry.font->FindGlyphNoFallback(static_cast<ImWchar>(c)) : nullptr;
      if (glyph) {
        visit(*glyph);
        continue;
      }
      if (!entry.font || isDirty_) continue;  // comes with the next rebuild
    }
    if (!entry.font) continue;
    for (const char e : escaped(c)) {
      if (const ImFontGlyph* glyph = entry.font->FindGlyphNoFallback(static_cast<ImWchar>(e))) visit(*glyph);
    }
  }
}

double ImGuiFonts::width(const std::string& text, const Font& font) {
  double pixels = 0;
  forEachGlyph(entryFor(font), text, [&](const ImFontGlyph& glyph) { pixels += glyph.AdvanceX; });
  return pixels / pixelRatio_;
}

double ImGuiFonts::ascent(const Font& font) {
  const File* source = file(pathFor(font.face, font.weight));
  return font.size_pt * (source ? source->ascentPerEm : 0.95);
}

double ImGuiFonts::descent(const Font& font) {
  const File* source = file(pathFor(font.face, font.weight));
  return font.size_pt * (source ? source->heightPerEm - source->ascentPerEm : 0.25);
}

double ImGuiFonts::draw(ImDrawList& list, Point baseline, const std::string& text, const Font& font, Color color, double angle_deg) {
  Entry& entry = entryFor(font);
  const double scale = 1 / pixelRatio_;
  const bool isTurned = angle_deg != 0;
  const double cosine = std::cos(angle_deg * M_PI / 180), sine = std::sin(angle_deg * M_PI / 180);
  // Upright text starts on a whole pixel, so that the same word looks the same everywhere.
  const double x0 = isTurned ? baseline.x : std::round(baseline.x * pixelRatio_) * scale;
  const double y0 = isTurned ? baseline.y : std::round(baseline.y * pixelRatio_) * scale;
  const ImU32 ink = packed(color);
  double pen = 0;  // pixels
  forEachGlyph(entry, text, [&](const ImFontGlyph& glyph) {
    if (glyph.Visible) {
      const double rise = entry.font->Ascent;
      const auto corner = [&](double x, double y) {
        const double dx = (pen + x) * scale, dy = (y - rise) * scale;
        return ImVec2(static_cast<float>(x0 + dx * cosine - dy * sine), static_cast<float>(y0 + dx * sine + dy * cosine));
      };
      list.PrimReserve(6, 4);
      list.PrimQuadUV(corner(glyph.X0, glyph.Y0), corner(glyph.X1, glyph.Y0), corner(glyph.X1, glyph.Y1), corner(glyph.X0, glyph.Y1),
                      {glyph.U0, glyph.V0}, {glyph.U1, glyph.V0}, {glyph.U1, glyph.V1}, {glyph.U0, glyph.V1}, ink);
    }
    pen += glyph.AdvanceX;
  });
  return pen * scale;
}

}  // namespace headscope::views
