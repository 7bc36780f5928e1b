#include "views/figure/build.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "views/figure/axis.h"

namespace headscope::views {
namespace {

constexpr int64_t kRectangleCells = 4096;  // below, a map on paper is made of rectangles
constexpr double kOverlap = 0.12;          // points that a cell runs under its right and lower neighbour: no seams in PDF viewers

void addRectangles(Figure& figure, const Rect& plot, core::ConstMatrixView values, const MapPart& part, const ValueScale& scale,
                   const ColorRamp& ramp) {
  const double width = plot.width / part.cols, height = plot.height / part.rows;
  const auto lastRow = std::min(values.rows, static_cast<int64_t>(std::ceil(part.firstRow + part.rows)));
  const auto lastCol = std::min(values.cols, static_cast<int64_t>(std::ceil(part.firstCol + part.cols)));
  const auto isInk = [&](int64_t r, int64_t c) { return r < lastRow && c < lastCol && scale.unit(values(r, c)) > 0; };
  for (int64_t r = static_cast<int64_t>(part.firstRow); r < lastRow; ++r) {
    for (int64_t c = static_cast<int64_t>(part.firstCol); c < lastCol; ++c) {
      if (!isInk(r, c)) continue;
      const double x = plot.x + (static_cast<double>(c) - part.firstCol) * width,
                   y = plot.y + (static_cast<double>(r) - part.firstRow) * height;
      const Rect cell{x, y, width + (isInk(r, c + 1) ? kOverlap : 0), height + (isInk(r + 1, c) ? kOverlap : 0)};
      figure.add(RectItem{cell, ramp.at(scale.unit(values(r, c)))});
    }
  }
}

bool hasNan(core::ConstMatrixView values) {
  for (int64_t r = 0; r < values.rows; ++r) {
    for (int64_t c = 0; c < values.cols; ++c) {
      if (std::isnan(values(r, c))) return true;
    }
  }
  return false;
}

void addLock(Figure& figure, Point at, double size, Color color) {
  figure.add(RectItem{{at.x, at.y + size * 0.45, size * 0.8, size * 0.55}, color, kTransparent, 0, size * 0.08});
  PolylineItem shackle{{}, color, kTransparent, std::max(0.5, size * 0.13), false};
  for (int i = 0; i <= 8; ++i) {
    const double angle = 3.14159265 * i / 8;
    shackle.points.push_back({at.x + size * (0.4 - 0.25 * std::cos(angle)), at.y + size * (0.34 - 0.25 * std::sin(angle))});
  }
  shackle.points.insert(shackle.points.begin(), {at.x + size * 0.15, at.y + size * 0.45});
  shackle.points.push_back({at.x + size * 0.65, at.y + size * 0.45});
  figure.add(std::move(shackle));
}

}  // namespace

TextItem textAt(Point at, std::string text, const Font& font, Color color, AnchorX x, AnchorY y) {
  return {at, std::move(text), font, color, x, y};
}

PolylineItem segment(Point from, Point to, Color stroke, double width) { return {{from, to}, stroke, kTransparent, width, false}; }

Item pickArea(const Rect& rect, Pick pick) { return {RectItem{rect}, std::move(pick)}; }

double colorBarTextWidth(const ValueScale& scale, const Theme& theme, const TextMeasure& measure) {
  const Font font = theme.small();
  // At least room for "0.00", so that maps with different limits come out equally large.
  return std::max(
      {measure.width(shortNumber(scale.high, 2), font), measure.width(shortNumber(scale.lowest(), 2), font), measure.width("0.00", font)});
}

void addColorBar(Figure& figure, const Rect& rect, const ValueScale& scale, const ColorRamp& ramp, const Theme& theme) {
  constexpr int kPixels = 64;
  core::Matrix column(kPixels, 1);
  for (int i = 0; i < kPixels; ++i) column(i, 0) = static_cast<float>(1.0 - (i + 0.5) / kPixels);
  figure.add(ImageItem{rect, mapImage(column, ValueScale{core::ColorScale::Linear, 0, 1}, ramp), false});
  figure.add(RectItem{rect, kTransparent, theme.line, 0});
  const Font font = theme.small();
  const double gap = theme.gap / 2, x = rect.right() + gap;
  figure.add(textAt({x, rect.y}, shortNumber(scale.high, 2), font, theme.inkSecond, AnchorX::Left, AnchorY::Top));
  figure.add(textAt({x, rect.bottom()}, shortNumber(scale.lowest(), 2), font, theme.inkSecond, AnchorX::Left, AnchorY::Bottom));
  if (scale.isSigned && rect.height > 3 * theme.smallSize)
    figure.add(textAt({x, rect.center().y}, "0", font, theme.inkSecond, AnchorX::Left, AnchorY::Middle));
  figure.add(textAt({rect.center().x, rect.bottom() + gap}, scaleName(scale.kind), font, theme.inkSecond, AnchorX::Center, AnchorY::Top));
  if (scale.isLocked) addLock(figure, {rect.x, rect.y - theme.smallSize - gap / 2}, theme.smallSize * 0.9, theme.inkSecond);
}

void addMap(Figure& figure, const Rect& plot, core::ConstMatrixView values, const MapPart& part, const ValueScale& scale,
            const ColorRamp& ramp, const MapImageCache& cache, const Theme& theme, bool isPaper) {
  if (values.rows == 0 || values.cols == 0 || part.rows <= 0 || part.cols <= 0) return;
  figure.add(ClipItem{plot});
  if (isPaper && part.rows * part.cols < kRectangleCells && !hasNan(values)) {
    addRectangles(figure, plot, values, part, scale, ramp);
  } else {
    const double width = plot.width / part.cols, height = plot.height / part.rows;
    const int pooling = isPaper ? 0 : poolingFor(part.cols, plot.width);
    const MapImageCache::Key key{scale, theme.isDark, pooling};
    std::vector<MapImageCache::Tile> tiles;
    if (isPaper) {
      tiles.push_back({cache.get(key, values, ramp)});  // one picture: no seams in PDF viewers
    } else {
      tiles = cache.tiles(key, values, ramp, {part.firstRow, part.firstRow + part.rows, part.firstCol, part.firstCol + part.cols});
    }
    const double step = static_cast<double>(1 << pooling);
    if (std::any_of(tiles.begin(), tiles.end(), [](const auto& tile) { return tile.entry.hasNan; }))
      figure.add(HatchItem{plot, theme.inkSecond.withAlpha(0.6)});
    for (const MapImageCache::Tile& tile : tiles) {
      const Rect rect{plot.x + (tile.firstCol - part.firstCol) * width, plot.y + (tile.firstRow - part.firstRow) * height,
                      tile.entry.image->width * step * width, tile.entry.image->height * step * height};
      figure.add(ImageItem{rect, tile.entry.image, false});
    }
  }
  figure.add(ClipItem{});
}

void addTag(Figure& figure, const Rect& target, const Rect& bounds, const std::string& label, const std::string& value,
            const std::string& note, const Theme& theme, const TextMeasure& measure) {
  const Font mono{FontFace::Mono, theme.smallSize, FontWeight::Regular}, bold{FontFace::Mono, theme.smallSize, FontWeight::SemiBold};
  const double pad = theme.gap, line = theme.smallSize * 1.45;
  const double valueWidth = measure.width(value, bold), gap = label.empty() ? 0 : theme.gap * 1.5;
  const double width = std::max(measure.width(label, mono) + gap + valueWidth, measure.width(note, theme.small())) + 2 * pad;
  const double height = line * (note.empty() ? 1 : 2) + pad;
  const double away = theme.gap * 1.5;
  Rect box{target.right() + away, target.bottom() + away, width, height};
  if (box.right() > bounds.right()) box.x = target.x - away - width;
  if (box.x < bounds.x) box.x = std::clamp(target.center().x - width / 2, bounds.x, std::max(bounds.x, bounds.right() - width));
  if (box.bottom() > bounds.bottom()) box.y = target.y - away - height;
  box.y = std::max(box.y, bounds.y);
  figure.addOverlay(RectItem{box, theme.raised, theme.line, 1, theme.radius});
  const double y = box.y + pad / 2 + line / 2;
  figure.addOverlay(textAt({box.x + pad, y}, label, mono, theme.inkSecond, AnchorX::Left, AnchorY::Middle));
  figure.addOverlay(textAt({box.right() - pad, y}, value, bold, theme.ink, AnchorX::Right, AnchorY::Middle));
  if (!note.empty())
    figure.addOverlay(textAt({box.x + pad, y + line}, note, theme.small(), theme.inkSecond, AnchorX::Left, AnchorY::Middle));
}

Figure emptyFigure(Size size, const std::string& what, const std::string& action, const Theme& theme) {
  Figure figure;
  if (size.height <= 0) size.height = 6 * theme.textSize;  // on paper a figure is as high as what it shows
  figure.size = size;
  figure.background = theme.canvas;
  const Point middle{size.width / 2, size.height / 2};
  for (TextItem text : {textAt({middle.x, middle.y - theme.gap}, what, theme.sans(), theme.ink, AnchorX::Center, AnchorY::Bottom),
                        textAt(middle, action, theme.small(), theme.inkSecond, AnchorX::Center, AnchorY::Top)}) {
    text.maxWidth = std::max(0.0, size.width - 2 * theme.gap);
    figure.add(std::move(text));
  }
  return figure;
}

}  // namespace headscope::views
