#include "views/facts.h"

#include <algorithm>
#include <cmath>

#include "views/figure/build.h"

namespace headscope::views {
namespace {

size_t columnsFor(double width, const Theme& t) { return static_cast<size_t>(std::max(1.0, std::floor(width / (t.smallSize * 16)))); }
double lineOf(const Theme& t) { return t.smallSize * 1.6; }

}  // namespace

double factsHeight(size_t count, double width, const Theme& theme) {
  const size_t columns = columnsFor(width, theme);
  return lineOf(theme) * static_cast<double>((count + columns - 1) / columns);
}

void addFacts(Figure& figure, Point at, double width, const std::vector<Fact>& facts, const Theme& theme) {
  const size_t columns = columnsFor(width, theme);
  const double each = width / static_cast<double>(columns), name = std::min(each * 0.42, theme.smallSize * 8);
  for (size_t i = 0; i < facts.size(); ++i) {
    const double x = at.x + each * static_cast<double>(i % columns), y = at.y + lineOf(theme) * static_cast<double>(i / columns);
    TextItem label = textAt({x, y}, facts[i].name, theme.small(), theme.inkSecond, AnchorX::Left, AnchorY::Top);
    label.maxWidth = name - theme.gap / 2;
    figure.add(std::move(label));
    TextItem value = textAt({x + name, y}, facts[i].value, theme.small(), theme.ink, AnchorX::Left, AnchorY::Top);
    value.maxWidth = each - name - theme.gap / 2;
    figure.add(std::move(value));
  }
}

}  // namespace headscope::views
