#pragma once
// Facts: named numbers in aligned columns under a picture, as many columns as the width holds.
#include <string>
#include <vector>

#include "views/figure/figure.h"
#include "views/theme.h"

namespace headscope::views {

struct Fact {
  std::string name, value;
};

/// Height that the facts take at this width.
double factsHeight(size_t count, double width, const Theme& theme);
/// Names in second ink, values in ink beside them, row by row from the top left.
void addFacts(Figure& figure, Point at, double width, const std::vector<Fact>& facts, const Theme& theme);

}  // namespace headscope::views
