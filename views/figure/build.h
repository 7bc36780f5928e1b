#pragma once
// Short ways to put common items into a figure, shared by views.
#include <string>

#include "views/figure/figure.h"
#include "views/map_image.h"
#include "views/theme.h"
#include "views/value_scale.h"

namespace headscope::views {

TextItem textAt(Point at, std::string text, const Font& font, Color color, AnchorX x = AnchorX::Left, AnchorY y = AnchorY::Baseline);
PolylineItem segment(Point from, Point to, Color stroke, double width = 0);

/// A transparent rectangle that answers the mouse.
Item pickArea(const Rect& rect, Pick pick);

/// A vertical colour bar with its limits at the right and the scale's name below; a small lock when the limits are locked.
/// `rect` is the bar itself, without texts.
void addColorBar(Figure& figure, const Rect& rect, const ValueScale& scale, const ColorRamp& ramp, const Theme& theme);
/// Width that the limits' texts take beside the bar.
double colorBarTextWidth(const ValueScale& scale, const Theme& theme, const TextMeasure& measure);

/// A map's cells inside `plot`, which shows the part [firstRow, firstRow + rows) x [firstCol, ...) of `values` in cells (may
/// be fractional): one picture, or on paper below 4,096 cells rectangles. NaN cells are hatched.
struct MapPart {
  double firstRow = 0, rows = 0, firstCol = 0, cols = 0;
};
void addMap(Figure& figure, const Rect& plot, core::ConstMatrixView values, const MapPart& part, const ValueScale& scale,
            const ColorRamp& ramp, const MapImageCache& cache, const Theme& theme, bool isPaper);

/// A tag with text near `target` that stays inside `bounds` and never covers it.
void addTag(Figure& figure, const Rect& target, const Rect& bounds, const std::string& label, const std::string& value,
            const std::string& note, const Theme& theme, const TextMeasure& measure);

/// What a view shows when there is nothing to see: what would be here, and the one action that brings it.
Figure emptyFigure(Size size, const std::string& what, const std::string& action, const Theme& theme);

}  // namespace headscope::views
