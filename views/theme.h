#pragma once
// Theme: every colour and size of the screen and of figures on paper; nothing else in the program holds one. Colours that carry
// data (ramps) are in color_ramp.h and start from these.
#include <array>

#include "views/figure/figure.h"

namespace headscope::views {

struct Theme {
  bool isDark = false;
  Color canvas, panel, raised, line, ink, inkSecond, accent, warning, error;
  Color query, key, value;          // Q, K, V
  Color specialInk, specialFill;    // special tokens, sinks
  std::array<Color, 8> categories;  // Okabe-Ito order

  // Points
  double gap = 8, rowHeight = 24, listRowHeight = 22, radius = 4;
  double textSize = 13, smallSize = 11, headingSize = 15, monoSize = 12;

  Font sans() const { return {FontFace::Sans, textSize, FontWeight::Regular}; }
  Font small() const { return {FontFace::Sans, smallSize, FontWeight::Regular}; }
  Font heading() const { return {FontFace::Sans, headingSize, FontWeight::SemiBold}; }
  Font mono() const { return {FontFace::Mono, monoSize, FontWeight::Regular}; }
  /// Height of a pane's header, and of a row of tokens: grow with the type.
  double paneHeader() const;
  double tokenRow() const;
};

Theme lightTheme();
Theme darkTheme();
/// For exports: light or dark tokens with paper sizes (type `font_pt`, default 7).
Theme paperTheme(bool isDark = false, double font_pt = 7);

/// For a room: all type 1.6 times as large.
Theme presenterTheme(Theme theme);

/// Measures of the window shell, points.
struct ShellMeasures {
  double leftDock = 264, rightDock = 288, promptStrip = 84, statusBar = 24;
};

/// WCAG contrast ratio of two opaque colours, 1 to 21.
double contrast(Color a, Color b);

}  // namespace headscope::views
