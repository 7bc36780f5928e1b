#pragma once
// Painter sink: a figure's content through QPainter, for PDF and PNG. Overlays are never painted.
#include "views/figure/figure.h"

class QPainter;

namespace headscope::app {

/// The painter's device must have 72 dots an inch in its logical coordinates; scaling is the caller's transform.
/// hairline: width in points of lines whose width is 0 (0.25 on paper).
/// textScale: the painter's scale for pixels, so that letters are drawn from the size they end up with (default: 1). A typeface
/// drawn small and enlarged comes out bold, as its stems are thickened for the small size.
void paintFigure(QPainter& painter, const views::Figure& figure, double hairline, double textScale = 1);

/// Baseline of a text item relative to its anchor, in points, from the typeface's own measures: the same in every sink.
double baselineShift(const views::TextItem& text, const views::TextMeasure& measure);

/// 45-degree lines that fill `rect`, for sinks without a hatch of their own.
std::vector<std::pair<views::Point, views::Point>> hatchLines(const views::Rect& rect, double spacing);

}  // namespace headscope::app
