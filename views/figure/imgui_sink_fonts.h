#pragma once
// ImGuiFonts: the type that figures and panels are drawn with on screen: one Dear ImGui font for each face, weight and size in
// use, rasterised at the screen's pixel ratio, holding exactly the glyphs that were drawn so far.
//
// Text drawn with a glyph that is not in the atlas yet notes it as wanted; needsRebuild() is then true and the owner calls
// rebuild() before the next frame and uploads the atlas anew. A code point that no font file has, or one beyond 16 bits (which
// this Dear ImGui can't hold), is shown as an escape ("\u{1F600}"), never as a box. Costs: a rebuild rasterises all wanted
// glyphs, some milliseconds; drawing looks glyphs up in a table.
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/base/mapped_file.h"
#include "views/figure/figure.h"

struct ImDrawList;
struct ImFont;
struct ImFontAtlas;

namespace headscope::views {

/// Paths of font files, found by the program; "" where absent.
struct FontFiles {
  std::string sans, sansSemiBold, mono, monoSemiBold;
  std::vector<std::string> fallbacks;  // wide coverage, tried in order
};

class ImGuiFonts {
 public:
  /// Files are mapped when first needed. Throws core::Error when neither face has a readable file.
  explicit ImGuiFonts(FontFiles files);
  ~ImGuiFonts();

  /// True when something drawn lacks a font or glyph, or the pixel ratio changed.
  bool needsRebuild() const { return isDirty_; }
  /// Clears and fills the atlas (default font: the theme's text). The old ImFont pointers die.
  void rebuild(ImFontAtlas& atlas);
  void setPixelRatio(double ratio);
  double pixelRatio() const { return pixelRatio_; }

  /// The font for Dear ImGui's own widgets, or nullptr before the first rebuild that knows it; wants ASCII.
  ImFont* widgetFont(const Font& font);

  /// Draws one line with its baseline starting at `baseline` (points of the draw list), turned clockwise about it.
  /// Returns the advance in points.
  double draw(ImDrawList& list, Point baseline, const std::string& text, const Font& font, Color color, double angle_deg = 0);
  /// The advance that draw() would return, in points.
  double width(const std::string& text, const Font& font);
  /// Height above and below the baseline that the file asks for, points.
  double ascent(const Font& font);
  double descent(const Font& font);

 private:
  struct Key {
    FontFace face;
    FontWeight weight;
    int quarterPixels;  // em size in quarters of a pixel
    auto operator<=>(const Key&) const = default;
  };
  struct Entry {
    std::set<uint16_t> wanted;
    ImFont* font = nullptr;
    std::vector<unsigned short> ranges;  // as Dear ImGui wants them
  };
  struct File {
    std::shared_ptr<const core::MappedFile> map;
    double heightPerEm = 1.2, ascentPerEm = 0.95;  // hhea ascent - descent and ascent, over units per em
    int index = 0;
  };

  Entry& entryFor(const Font& font);
  const File* file(const std::string& path);
  const std::string& pathFor(FontFace face, FontWeight weight) const;
  void addToAtlas(ImFontAtlas& atlas, const Key& key, Entry& entry);
  std::string escaped(uint32_t codePoint) const;
  /// Calls visit(glyph code point) for what is to be drawn in place of the text.
  template <class Visit>
  void forEachGlyph(Entry& entry, const std::string& text, Visit visit);

  FontFiles files_;
  std::map<std::string, File> open_;
  std::map<Key, Entry> entries_;
  double pixelRatio_ = 1;
  bool isDirty_ = true;
};

}  // namespace headscope::views
