#include "views/figure/figure.h"

#include <algorithm>
#include <cmath>

namespace headscope::views {
namespace {

constexpr double kLineSlack = 4;  // points around a line that still hit it

double distanceToSegment(Point p, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double length2 = dx * dx + dy * dy;
  const double t = length2 > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length2, 0.0, 1.0) : 0.0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

Point bezier(const CurveItem& c, double t) {
  const double u = 1 - t, k0 = u * u * u, k1 = 3 * u * u * t, k2 = 3 * u * t * t, k3 = t * t * t;
  return {k0 * c.a.x + k1 * c.b.x + k2 * c.c.x + k3 * c.d.x, k0 * c.a.y + k1 * c.b.y + k2 * c.c.y + k3 * c.d.y};
}

struct Hit {
  Point p;
  bool operator()(const RectItem& r) const { return r.rect.contains(p); }
  bool operator()(const ImageItem& i) const { return i.rect.contains(p); }
  bool operator()(const HatchItem& h) const { return h.rect.contains(p); }
  bool operator()(const ClipItem&) const { return false; }
  bool operator()(const PolylineItem& line) const {
    for (size_t i = 1; i < line.points.size(); ++i) {
      if (distanceToSegment(p, line.points[i - 1], line.points[i]) <= std::max(kLineSlack, line.strokeWidth / 2)) return true;
    }
    return false;
  }
  bool operator()(const CurveItem& c) const {
    constexpr int kPieces = 24;
    for (int i = 1; i <= kPieces; ++i) {
      const Point a = bezier(c, (i - 1.0) / kPieces), b = bezier(c, static_cast<double>(i) / kPieces);
      if (distanceToSegment(p, a, b) <= std::max(kLineSlack, c.strokeWidth / 2)) return true;
    }
    return false;
  }
  // Text has no extent without a measure: put a transparent rectangle with the pick behind it.
  bool operator()(const TextItem&) const { return false; }
};

Rect boundsOf(const Shape& shape) {
  if (const auto* r = std::get_if<RectItem>(&shape)) return r->rect;
  if (const auto* i = std::get_if<ImageItem>(&shape)) return i->rect;
  if (const auto* h = std::get_if<HatchItem>(&shape)) return h->rect;
  return {};
}

int64_t cellStart(double first, double cells, double step, double fraction) {
  const double token = first + fraction * cells * step;
  return static_cast<int64_t>(std::floor(std::floor(token / step + 1e-9) * step));
}

Pick pickOf(const Item& item, Point p) {
  Pick pick = item.pick;
  pick.bounds = boundsOf(item.shape);
  if (pick.kind == Pick::Kind::Cell && pick.a < 0 && pick.b < 0 && pick.c < 0 && item.pickRows > 0 && item.pickCols > 0) {
    pick.a = cellStart(item.pickFirstRow, item.pickRows, item.pickStep, (p.y - pick.bounds.y) / pick.bounds.height);
    pick.b = cellStart(item.pickFirstCol, item.pickCols, item.pickStep, (p.x - pick.bounds.x) / pick.bounds.width);
  }
  if (pick.kind == Pick::Kind::Value && pick.c < 0 && item.pickCols > 0) {
    pick.c = static_cast<int64_t>(item.pickCols * (p.x - pick.bounds.x) / pick.bounds.width);
  }
  return pick;
}

Pick topmost(const std::vector<Item>& items, Point p) {
  std::vector<bool> open{true};  // whether p is inside every clip on the stack
  Pick found;
  for (const Item& item : items) {
    if (const auto* clip = std::get_if<ClipItem>(&item.shape)) {
      if (clip->rect)
        open.push_back(open.back() && clip->rect->contains(p));
      else if (open.size() > 1)
        open.pop_back();
    } else if (item.pick.kind != Pick::Kind::None && open.back() && std::visit(Hit{p}, item.shape)) {
      found = pickOf(item, p);
    }
  }
  return found;
}

}  // namespace

std::vector<std::pair<int64_t, int64_t>> Figure::headsIn(const Rect& band) const {
  std::vector<std::pair<int64_t, int64_t>> heads;
  for (const Item& item : content) {
    if (item.pick.kind != Pick::Kind::Head || item.pick.c < -1) continue;
    const Rect r = boundsOf(item.shape);
    if (r.width > 0 && r.right() >= band.x && r.x <= band.right() && r.bottom() >= band.y && r.y <= band.bottom())
      heads.emplace_back(item.pick.a, item.pick.b);
  }
  std::sort(heads.begin(), heads.end());
  heads.erase(std::unique(heads.begin(), heads.end()), heads.end());
  return heads;
}

Pick Figure::pick(Point p) const {
  const Pick above = topmost(overlay, p);
  return above.kind != Pick::Kind::None ? above : topmost(content, p);
}

}  // namespace headscope::views
