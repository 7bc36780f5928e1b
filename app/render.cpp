#include "app/render.h"

#include <algorithm>

#include "app/sinks/qt_fonts.h"
#include "core/base/error.h"
#include "views/figure/panel.h"

namespace headscope::app {
namespace {

constexpr double kPointsPerMillimetre = 72 / 25.4;
constexpr double kPanelGap = 12;         // points
constexpr double kNarrowestPanel = 110;  // points; more heads than fit go to a next row

views::Figure drawOne(const views::View& view, const views::ViewInput& input, const views::ViewFrame& frame, core::Job& job) {
  std::shared_ptr<const views::ViewData> data;
  if (!view.dataKey(input, frame.size).empty()) data = view.compute(input, frame.size, job);
  return view.draw(input, data.get(), frame);
}

}  // namespace

views::Figure paperFigure(const views::View& view, const views::ViewInput& input, const core::FigureLayout& layout, bool isDark,
                          core::Job& job) {
  if (view.needsTrace() && !input.trace) throw core::Error("there is no prompt to show", std::string(view.name()), "give a prompt");
  const views::Theme theme = views::paperTheme(isDark, layout.font_pt);
  const QtTextMeasure measure;
  const double width = layout.width_mm * kPointsPerMillimetre;
  const std::vector<core::HeadRef>& heads = input.selection.brushed;
  if (heads.size() < 2 || !view.isPerHead(input)) {
    views::Figure figure = drawOne(view, input, {theme, measure, {width, 0}, true}, job);
    return layout.hasLetters ? views::panelOf({figure}, {}, 1, 0, true, theme) : figure;
  }
  const int fit = std::max(1, static_cast<int>((width + kPanelGap) / (kNarrowestPanel + kPanelGap)));
  const int columns = std::min(fit, static_cast<int>(heads.size()));
  const double each = (width - kPanelGap * (columns - 1)) / columns;
  std::vector<views::Figure> figures;
  std::vector<std::string> names;
  for (const core::HeadRef& head : heads) {
    views::ViewInput one = input;
    one.selection.layer = head.layer, one.selection.head = head.head;
    names.push_back(view.subject(one));
    figures.push_back(drawOne(view, one, {theme, measure, {each, 0}, true}, job));
  }
  return views::panelOf(figures, names, columns, kPanelGap, layout.hasLetters, theme);
}

}  // namespace headscope::app
