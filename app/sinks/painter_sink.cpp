#include "app/sinks/painter_sink.h"

#include <QImage>
#include <QPaintEngine>
#include <QPainter>
#include <QPainterPath>
#include <algorithm>

#include "app/sinks/qt_fonts.h"
#include "views/token_text.h"

namespace headscope::app {
namespace {

QColor qt(views::Color c) { return {c.r, c.g, c.b, c.a}; }
QPointF qt(views::Point p) { return {p.x, p.y}; }
QRectF qt(const views::Rect& r) { return {r.x, r.y, r.width, r.height}; }

struct Painting {
  QPainter& painter;
  double hairline, textScale;
  QtTextMeasure measure{};

  QPen pen(views::Color color, double width) const {
    if (color.a == 0) return Qt::NoPen;
    QPen pen(qt(color), width > 0 ? width : hairline);
    pen.setCapStyle(Qt::FlatCap);
    pen.setJoinStyle(Qt::MiterJoin);
    return pen;
  }

  void operator()(const views::RectItem& r) const {
    if (r.fill.a == 0 && r.stroke.a == 0) return;
    painter.setPen(pen(r.stroke, r.strokeWidth));
    painter.setBrush(r.fill.a == 0 ? QBrush(Qt::NoBrush) : QBrush(qt(r.fill)));
    if (r.radius > 0)
      painter.drawRoundedRect(qt(r.rect), r.radius, r.radius);
    else
      painter.drawRect(qt(r.rect));
  }

  void operator()(const views::PolylineItem& line) const {
    QPolygonF points;
    for (const views::Point p : line.points) points << qt(p);
    QPen stroke = pen(line.stroke, line.strokeWidth);
    stroke.setJoinStyle(Qt::RoundJoin);
    painter.setPen(stroke);
    painter.setBrush(line.isClosed && line.fill.a > 0 ? QBrush(qt(line.fill)) : QBrush(Qt::NoBrush));
    if (line.isClosed)
      painter.drawPolygon(points);
    else
      painter.drawPolyline(points);
  }

  void operator()(const views::CurveItem& c) const {
    QPainterPath path(qt(c.a));
    path.cubicTo(qt(c.b), qt(c.c), qt(c.d));
    painter.setPen(pen(c.stroke, c.strokeWidth));
    painter.setBrush(Qt::NoBrush);
    painter.drawPath(path);
  }

  void operator()(const views::TextItem& t) const {
    if (t.text.empty()) return;
    std::string text = views::escapeMissing(t.text, t.font.face, measure);
    if (t.maxWidth > 0) text = views::elide(text, t.font, t.maxWidth, measure);
    const double width = t.anchorX == views::AnchorX::Left ? 0 : measure.width(text, t.font);
    const double dx = t.anchorX == views::AnchorX::Left ? 0 : t.anchorX == views::AnchorX::Center ? -width / 2 : -width;
    painter.save();
    painter.translate(qt(t.at));
    if (t.angle_deg != 0) painter.rotate(t.angle_deg);
    painter.setPen(qt(t.color));
    views::Font font = t.font;
    font.size_pt *= textScale;
    painter.scale(1 / textScale, 1 / textScale);
    painter.setFont(qtFont(font));
    painter.drawText(QPointF(dx, baselineShift(t, measure)) * textScale, QString::fromStdString(text));
    painter.restore();
  }

  void operator()(const views::ImageItem& i) const {
    if (!i.image || i.image->width <= 0 || i.image->height <= 0) return;
    const QImage image(i.image->rgba.data(), i.image->width, i.image->height, i.image->width * 4, QImage::Format_RGBA8888);
    // Cells are sharp; only where a pixel holds several are they averaged, or stripes one cell wide would come and go.
    const bool isShrunk =
        i.image->width > i.rect.width * textScale * 1.01 && painter.device()->paintEngine()->type() == QPaintEngine::Raster;
    painter.setRenderHint(QPainter::SmoothPixmapTransform, i.isSmooth || isShrunk);
    painter.drawImage(qt(i.rect), image);
  }

  void operator()(const views::HatchItem& h) const {
    painter.setPen(pen(h.color, std::max(hairline, 0.4)));
    for (const auto& [a, b] : hatchLines(h.rect, 3)) painter.drawLine(qt(a), qt(b));
  }

  void operator()(const views::ClipItem& c) const {
    if (!c.rect) return painter.restore();
    painter.save();
    painter.setClipRect(qt(*c.rect), Qt::IntersectClip);
  }
};

}  // namespace

double baselineShift(const views::TextItem& text, const views::TextMeasure& measure) {
  // Middle means the middle of capital letters and figures, not of the line: that is what looks centred beside a cell.
  constexpr double kHalfCapital = 0.355;
  switch (text.anchorY) {
    case views::AnchorY::Top:
      return measure.ascent(text.font) * 0.92;
    case views::AnchorY::Middle:
      return text.font.size_pt * kHalfCapital;
    case views::AnchorY::Bottom:
      return -measure.descent(text.font) * 0.85;
    case views::AnchorY::Baseline:
      break;
  }
  return 0;
}

std::vector<std::pair<views::Point, views::Point>> hatchLines(const views::Rect& rect, double spacing) {
  std::vector<std::pair<views::Point, views::Point>> lines;
  if (rect.width <= 0 || rect.height <= 0) return lines;
  for (double start = spacing / 2; start < rect.width + rect.height; start += spacing) {  // x + y = start, from the top edge or right edge
    const views::Point a{rect.x + std::min(start, rect.width), rect.y + std::max(0.0, start - rect.width)};
    const views::Point b{rect.x + std::max(0.0, start - rect.height), rect.y + std::min(start, rect.height)};
    lines.emplace_back(a, b);
  }
  return lines;
}

void paintFigure(QPainter& painter, const views::Figure& figure, double hairline, double textScale) {
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setRenderHint(QPainter::TextAntialiasing);
  painter.setRenderHint(QPainter::LosslessImageRendering);  // PDF: no JPEG of a map
  if (figure.background.a > 0) painter.fillRect(QRectF(0, 0, figure.size.width, figure.size.height), qt(figure.background));
  const Painting painting{painter, hairline, textScale};
  for (const views::Item& item : figure.content) std::visit(painting, item.shape);
}

}  // namespace headscope::app
