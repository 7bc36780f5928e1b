#include "views/figure/panel.h"

#include <algorithm>

namespace headscope::views {
namespace {

struct Move {
  double dx, dy;
  void operator()(Point& p) const { p.x += dx, p.y += dy; }
  void operator()(Rect& r) const { r.x += dx, r.y += dy; }
  void operator()(RectItem& item) const { (*this)(item.rect); }
  void operator()(ImageItem& item) const { (*this)(item.rect); }
  void operator()(HatchItem& item) const { (*this)(item.rect); }
  void operator()(TextItem& item) const { (*this)(item.at); }
  void operator()(PolylineItem& item) const {
    for (Point& p : item.points) (*this)(p);
  }
  void operator()(CurveItem& item) const {
    for (Point* p : {&item.a, &item.b, &item.c, &item.d}) (*this)(*p);
  }
  void operator()(ClipItem& item) const {
    if (item.rect) (*this)(*item.rect);
  }
};

// a, b, ..., z, aa, ab, ...
std::string letterOf(int index) {
  const std::string last(1, static_cast<char>('a' + index % 26));
  return index < 26 ? last : letterOf(index / 26 - 1) + last;
}

void appendItems(std::vector<Item>& target, const std::vector<Item>& items, const Move& move) {
  for (Item item : items) {
    std::visit(move, item.shape);
    target.push_back(std::move(item));
  }
}

}  // namespace

void appendFigure(Figure& target, const Figure& figure, double dx, double dy) {
  appendItems(target.content, figure.content, {dx, dy});
  appendItems(target.overlay, figure.overlay, {dx, dy});
}

Figure panelOf(const std::vector<Figure>& figures, const std::vector<std::string>& names, int columns, double gap, bool hasLetters,
               const Theme& theme) {
  Figure panel;
  panel.background = theme.canvas;
  const auto count = static_cast<int>(figures.size());
  const Font bold{FontFace::Sans, theme.textSize + 1, FontWeight::SemiBold},
      regular{FontFace::Sans, theme.textSize + 1, FontWeight::Regular};
  double y = 0;
  for (int first = 0; first < count; first += columns) {
    double x = 0, height = 0;
    for (int i = first; i < std::min(count, first + columns); ++i) {
      const Figure& figure = figures[static_cast<size_t>(i)];
      appendFigure(panel, figure, x, y);
      if (hasLetters) {
        panel.add(TextItem{{x, y}, letterOf(i), bold, theme.ink, AnchorX::Left, AnchorY::Top});
        panel.caption += "(" + letterOf(i) + ") ";
      }
      if (!names.empty()) {
        panel.add(TextItem{{x + (hasLetters ? bold.size_pt * 1.1 : 0), y},
                           names[static_cast<size_t>(i)],
                           regular,
                           theme.ink,
                           AnchorX::Left,
                           AnchorY::Top});
      }
      panel.caption += figure.caption + (i + 1 < count ? " " : "");
      panel.title += (i > 0 ? ", " : "") + figure.title;
      x += figure.size.width + gap;
      height = std::max(height, figure.size.height);
    }
    panel.size.width = std::max(panel.size.width, x - gap);
    y += height + gap;
  }
  panel.size.height = std::max(0.0, y - gap);
  return panel;
}

}  // namespace headscope::views
