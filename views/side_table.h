#pragma once
// SideTable: a small sortable table inside a figure: a heading row that sorts, rows that select a head, as many as fit; the wheel
// scrolls. State is in the options it is given: numbers "table_sort" (column, negative: ascending), "table_row" (first row).
#include <string>
#include <vector>

#include "views/view.h"

namespace headscope::views {

inline constexpr int64_t kTableControl = 900;  // Pick::a of its headings (b: column) and of the area that scrolls (b: -1)

struct SideTableColumn {
  std::string title, tip;
  bool isText = false;  // left-aligned, not sorted as a number
};

struct SideTableRow {
  core::HeadRef head;
  std::string tip;
  std::vector<std::string> texts;  // one a column
  std::vector<double> values;      // what sorts; NaN last
};

/// Rows sorted and cut to what fits into `area`; says how many there are beside.
void addSideTable(Figure& figure, const Rect& area, const std::vector<SideTableColumn>& columns, std::vector<SideTableRow> rows,
                  const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame);
/// Width that the columns need at their widest text.
double sideTableWidth(const std::vector<SideTableColumn>& columns, const std::vector<SideTableRow>& rows, const ViewFrame& frame);

/// A click on a heading, the wheel over the rows. True when it was for the table.
bool handleSideTable(const View::Gesture& gesture, core::ViewOptions& options);

}  // namespace headscope::views
