#pragma once
// Figure: a picture as a display list: rectangles, polylines, text with anchors, images, clips; points as unit, y down. Two
// layers: content, and overlay (hover, selection), which never exports. Made by pure functions, drawn by sinks (Dear ImGui on
// screen; QPainter for SVG, PDF, PNG; a text dump for golden tests). Picking uses the same primitives: an item may carry a
// Pick, and Figure::pick() finds the topmost under a point.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace headscope::views {

struct Point {
  double x = 0, y = 0;
};

struct Size {
  double width = 0, height = 0;
};

struct Rect {
  double x = 0, y = 0, width = 0, height = 0;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
  Point center() const { return {x + width / 2, y + height / 2}; }
  bool contains(Point p) const { return p.x >= x && p.x < right() && p.y >= y && p.y < bottom(); }
  Rect inset(double by) const { return {x + by, y + by, width - 2 * by, height - 2 * by}; }
};

struct Color {
  uint8_t r = 0, g = 0, b = 0, a = 255;
  bool operator==(const Color&) const = default;
  Color withAlpha(double alpha) const { return {r, g, b, static_cast<uint8_t>(alpha * 255 + 0.5)}; }
};
inline constexpr Color kTransparent{0, 0, 0, 0};

enum class FontFace { Sans, Mono };
enum class FontWeight { Regular, SemiBold };
struct Font {
  FontFace face = FontFace::Sans;
  double size_pt = 13;
  FontWeight weight = FontWeight::Regular;
};

enum class AnchorX { Left, Center, Right };
enum class AnchorY { Top, Middle, Baseline, Bottom };

/// RGBA pixels, row-major, 8 bits a channel, not premultiplied. `revision` changes when the pixels do (texture caches).
struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgba;
  uint64_t revision = 0;
};

/// What lies under the mouse. kind says which; a, b, c are its indices; view-specific text for the tooltip.
struct Pick {
  enum class Kind { None, Head, Cell, Token, QueryToken, KeyToken, Edge, Value, Control };
  Kind kind = Kind::None;
  int64_t a = -1, b = -1, c = -1;  // Head: layer, head. Cell: query, key. Token: position. Value: view-specific
  std::string tip;                 // ready to show, one or more lines; "" none
  Rect bounds{};                   // of the item that was hit, set by Figure::pick()
  Rect within{};                   // what a drag on it is measured in, set by the view: a slider's track, a chart's plot
};

struct RectItem {
  Rect rect;
  Color fill = kTransparent, stroke = kTransparent;
  double strokeWidth = 1;  // 0 with a visible stroke: one physical pixel (hairline)
  double radius = 0;
};

struct PolylineItem {
  std::vector<Point> points;
  Color stroke, fill = kTransparent;  // fill only when closed
  double strokeWidth = 1;             // 0: hairline
  bool isClosed = false;
};

/// Cubic Bezier from a to d.
struct CurveItem {
  Point a, b, c, d;
  Color stroke;
  double strokeWidth = 1;
};

struct TextItem {
  Point at;
  std::string text;  // UTF-8, already safe to show (see token_text.h); one line
  Font font;
  Color color;
  AnchorX anchorX = AnchorX::Left;
  AnchorY anchorY = AnchorY::Baseline;
  double angle_deg = 0;  // clockwise positive as y is down; rotates about `at`
  double maxWidth = 0;   // elided with "…" beyond; 0: no limit
};

struct ImageItem {
  Rect rect;
  std::shared_ptr<const Image> image;
  bool isSmooth = false;  // default: sharp cells
};

/// 45-degree hatch: missing, NaN or undefined values.
struct HatchItem {
  Rect rect;
  Color color;
};

struct ClipItem {  // push when rect is set, pop when not
  std::optional<Rect> rect;
};

using Shape = std::variant<RectItem, PolylineItem, CurveItem, TextItem, ImageItem, HatchItem, ClipItem>;

struct Item {
  Shape shape;
  Pick pick;
  // For images and rectangles with Kind::Cell whose a, b, c are -1: pick() fills a (row), b (column) from the point. The item
  // shows pickRows x pickCols cells (parts of cells count) of pickStep tokens each, from token (pickFirstRow, pickFirstCol);
  // a and b are the first token of the cell hit. With Kind::Value and c -1: c is the column, of pickCols.
  double pickFirstRow = 0, pickFirstCol = 0, pickRows = 0, pickCols = 0, pickStep = 1;
};

/// Numbers shown, for CSV export.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

class Figure {
 public:
  Size size;
  Color background;
  std::vector<Item> content, overlay;
  std::string title;    // "Attention map 1.5"
  std::string caption;  // for the caption file
  Table table;          // what the figure shows, as numbers; may be filled on demand by the view instead

  Item& add(Shape shape) { return content.emplace_back(Item{std::move(shape), {}}); }
  Item& addOverlay(Shape shape) { return overlay.emplace_back(Item{std::move(shape), {}}); }
  /// (layer, head) of every rectangle of the content that picks a head and touches `band`, sorted, each once. Rows of tables
  /// (Pick::c below -1) don't count.
  std::vector<std::pair<int64_t, int64_t>> headsIn(const Rect& band) const;
  /// The topmost pick under p (overlay first, clips honoured); Kind::None when nothing is there.
  Pick pick(Point p) const;
};

/// Measures text without any toolkit dependency in views: given by the sink's side (Qt metrics), so that screen, export and
/// tests lay out the same. Widths in points.
class TextMeasure {
 public:
  virtual ~TextMeasure() = default;
  virtual double width(const std::string& text, const Font& font) const = 0;
  virtual double ascent(const Font& font) const = 0;
  virtual double descent(const Font& font) const = 0;
  /// False where no typeface at hand has the character, so that it must be shown escaped (default: all are there).
  virtual bool canShow(uint32_t /*codePoint*/, FontFace /*face*/) const { return true; }
};

}  // namespace headscope::views
