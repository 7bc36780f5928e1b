#pragma once
// The few controls that the panes' headers need, in the program's type and colours on top of Dear ImGui: words that act as
// buttons, tooltips, filled rectangles. All positions in canvas points.
#include <string>

#include "views/figure/imgui_sink_fonts.h"
#include "views/theme.h"

struct ImDrawList;

namespace headscope::views {

/// Colours and measures of Dear ImGui's own widgets (popups, sliders) from the theme.
void styleFromTheme(const Theme& theme);

void fillRect(ImDrawList& list, Rect rect, Color color);

struct WordStyle {
  Font font;
  Color color, hoverColor;
};
/// A word that acts as a button in `rect` (text centred vertically, starting at its left). True when pressed. The tip is shown
/// after a short rest on it.
bool wordButton(const char* id, Rect rect, const std::string& word, const WordStyle& style, const Theme& theme, ImGuiFonts& fonts,
                const std::string& tip);

/// A tooltip at the mouse, one or more lines, in mono type.
void showTip(const Theme& theme, ImGuiFonts& fonts, const std::string& text);

}  // namespace headscope::views
