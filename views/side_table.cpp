#include "views/side_table.h"

#include <algorithm>
#include <cmath>

#include "core/attention/head_name.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/option_values.h"

namespace headscope::views {
namespace {

constexpr const char *kSort = "table_sort", *kRow = "table_row";

std::string textOf(const SideTableRow& row, size_t column) {
  if (column == 0) return core::headName(row.head);
  return std::isnan(row.values[column]) ? "\u2013" : shortNumber(row.values[column]);
}

std::vector<double> widthsOf(const std::vector<SideTableColumn>& columns, const std::vector<SideTableRow>& rows, const ViewFrame& frame) {
  const Font font = frame.theme.small(), mono{FontFace::Mono, frame.theme.smallSize, FontWeight::Regular};
  std::vector<double> widths;
  for (size_t c = 0; c < columns.size(); ++c) {
    double width = frame.measure.width(columns[c].title + " \u2193", font);
    const size_t step = std::max<size_t>(1, rows.size() / 16);  // a sample of a long table
    for (size_t r = 0; r < rows.size(); r += step) width = std::max(width, frame.measure.width(textOf(rows[r], c), mono));
    widths.push_back(width + frame.theme.gap * 1.5);
  }
  return widths;
}

void sortRows(std::vector<SideTableRow>& rows, size_t column, bool isAscending) {
  std::stable_sort(rows.begin(), rows.end(), [&](const SideTableRow& a, const SideTableRow& b) {
    const double x = a.values[column], y = b.values[column];
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
    return isAscending ? x < y : x > y;
  });
}

}  // namespace

double sideTableWidth(const std::vector<SideTableColumn>& columns, const std::vector<SideTableRow>& rows, const ViewFrame& frame) {
  double sum = 0;
  for (const double width : widthsOf(columns, rows, frame)) sum += width;
  return sum;
}

void addSideTable(Figure& figure, const Rect& area, const std::vector<SideTableColumn>& columns, std::vector<SideTableRow> rows,
                  const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const Font font = t.small(), mono{FontFace::Mono, t.smallSize, FontWeight::Regular};
  const std::vector<double> widths = widthsOf(columns, rows, frame);
  const double sort = numberIn(options, kSort, 0);
  const auto column = static_cast<size_t>(std::clamp(std::abs(sort) - 1, 0.0, static_cast<double>(columns.size() - 1)));
  if (sort != 0) sortRows(rows, column, sort < 0);
  const double line = frame.isPaper ? t.listRowHeight : std::min(t.listRowHeight, 20.0);
  const auto fitting = static_cast<size_t>(std::max(1.0, std::floor((area.height - 2 * line) / line)));
  const size_t most = rows.size() > fitting ? rows.size() - fitting : 0;
  const auto first = static_cast<size_t>(std::clamp(numberIn(options, kRow, 0), 0.0, static_cast<double>(most)));

  figure.content.push_back(pickArea(area, {Pick::Kind::Control, kTableControl, -1, -1, {}}));
  double x = area.x;
  std::vector<double> starts;
  for (size_t c = 0; c < columns.size(); ++c) {
    starts.push_back(x);
    const bool isSorted = sort != 0 && c == column;
    const std::string title = columns[c].title + (isSorted ? (sort < 0 ? " \u2191" : " \u2193") : "");
    const bool isLeft = c == 0;
    figure.add(textAt({isLeft ? x : x + widths[c] - t.gap, area.y + line / 2}, title, font, isSorted ? t.accent : t.inkSecond,
                      isLeft ? AnchorX::Left : AnchorX::Right, AnchorY::Middle));
    if (!frame.isPaper)
      figure.content.push_back(pickArea({x, area.y, widths[c], line},
                                        {Pick::Kind::Control, kTableControl, static_cast<int64_t>(c), -1,
                                         columns[c].tip + (columns[c].tip.empty() ? "" : "\n") + "Click to sort, again to turn round"}));
    x += widths[c];
  }
  const double right = std::min(x, area.right());
  figure.add(segment({area.x, area.y + line}, {right, area.y + line}, t.line));
  for (size_t r = first; r < std::min(rows.size(), first + fitting); ++r) {
    const SideTableRow& row = rows[r];
    const double y = area.y + line * (static_cast<double>(r - first) + 1);
    const Rect stripe{area.x - t.gap / 2, y, right - area.x + t.gap / 2, line};
    const bool isSelected = row.head == selection.ref();
    if (!frame.isPaper) {
      if (isBrushed(selection, row.head)) figure.add(RectItem{stripe, t.accent.withAlpha(0.12), kTransparent, 0});
      if (row.head == core::HeadRef{frame.hover.layer, frame.hover.head}) figure.add(RectItem{stripe, t.raised, kTransparent, 0});
    }
    for (size_t c = 0; c < columns.size(); ++c) {
      const bool isLeft = c == 0;
      figure.add(textAt({isLeft ? starts[c] : starts[c] + widths[c] - t.gap, y + line / 2}, textOf(row, c), mono,
                        isSelected && !frame.isPaper ? t.accent : t.ink, isLeft ? AnchorX::Left : AnchorX::Right, AnchorY::Middle));
    }
    figure.content.push_back(pickArea(stripe, {Pick::Kind::Head, row.head.layer, row.head.head, -2, {}}));
  }
  if (rows.size() > fitting) {
    figure.add(textAt(
        {area.x, area.y + line * (static_cast<double>(fitting) + 1.5)},
        std::to_string(first + 1) + " to " + std::to_string(std::min(rows.size(), first + fitting)) + " of " + std::to_string(rows.size()),
        font, t.inkSecond, AnchorX::Left, AnchorY::Middle));
  }
}

bool handleSideTable(const View::Gesture& gesture, core::ViewOptions& options) {
  using Kind = View::Gesture::Kind;
  const bool isArea = gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == kTableControl;
  const bool isRow = gesture.pick.kind == Pick::Kind::Head && gesture.pick.c == -2;
  if (gesture.kind == Kind::Click && isArea && gesture.pick.b >= 0) {
    const double column = static_cast<double>(gesture.pick.b + 1);
    options.numbers[kSort] = numberIn(options, kSort, 0) == column ? -column : column;
    options.numbers[kRow] = 0;
    return true;
  }
  if (gesture.kind == Kind::Wheel && (isArea || isRow)) {
    options.numbers[kRow] = std::max(0.0, numberIn(options, kRow, 0) - std::round(3 * gesture.delta.y));
    return true;
  }
  return gesture.kind == Kind::Drag && (isArea || isRow);
}

}  // namespace headscope::views
