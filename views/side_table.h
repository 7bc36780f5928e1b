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
};

/// One head; text is made of the rows that are seen alone.
struct SideTableRow {
  core::HeadRef head;
  std::vector<double> values;  // one a column; of the first one, the head's name, only the order; NaN last
};

/// The first column is the head's name, the others numbers. Rows are sorted and cut to what fits into `area`; says how many there are.
void addSideTable(Figure& figure, const Rect& area, const std::vector<SideTableColumn>& columns, std::vector<SideTableRow> rows,
                  const core::ViewOptions& options, const core::Selection& selection, const ViewFrame& frame);
/// Width that the columns need at their widest text.
double sideTableWidth(const std::vector<SideTableColumn>& columns, const std::vector<SideTableRow>& rows, const ViewFrame& frame);

/// A click on a heading, the wheel over the rows. True when it was for the table.
bool handleSideTable(const View::Gesture& gesture, core::ViewOptions& options);

}  // namespace headscope::views
