#include "views/theme.h"

#include <algorithm>
#include <cmath>

namespace headscope::views {
namespace {

constexpr Color hex(uint32_t rgb) {
  return {static_cast<uint8_t>(rgb >> 16), static_cast<uint8_t>(rgb >> 8), static_cast<uint8_t>(rgb), 255};
}

double luminance(Color c) {
  const auto linear = [](uint8_t v) {
    const double s = v / 255.0;
    return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
}

}  // namespace

Theme lightTheme() {
  Theme t;
  t.isDark = false;
  t.canvas = hex(0xFFFFFF), t.panel = hex(0xF6F7F9), t.raised = hex(0xECEFF3), t.line = hex(0xDADDE2);
  t.ink = hex(0x1B1F24), t.inkSecond = hex(0x5B6470), t.accent = hex(0x0B6BCB);
  t.warning = hex(0xB35900), t.error = hex(0xC0272D);
  t.query = hex(0x0072B2), t.key = hex(0xD55E00), t.value = hex(0x009E73);
  t.specialInk = hex(0x866A39), t.specialFill = hex(0xFBF3E2);
  t.categories = {hex(0x0072B2), hex(0xD55E00), hex(0x009E73), hex(0xCC79A7), hex(0xE69F00), hex(0x56B4E9), hex(0x7A6A00), hex(0x1B1F24)};
  return t;
}

Theme darkTheme() {
  Theme t;
  t.isDark = true;
  t.canvas = hex(0x14171C), t.panel = hex(0x1B1F26), t.raised = hex(0x242A33), t.line = hex(0x2C323B);
  t.ink = hex(0xE6E9EE), t.inkSecond = hex(0x9AA4B2), t.accent = hex(0x5AA9FF);
  t.warning = hex(0xFFB454), t.error = hex(0xFF7A80);
  t.query = hex(0x56B4E9), t.key = hex(0xF0884A), t.value = hex(0x3CCFA0);
  t.specialInk = hex(0xE0C28A), t.specialFill = hex(0x33291A);
  t.categories = {hex(0x56B4E9), hex(0xF0884A), hex(0x3CCFA0), hex(0xE39BC4), hex(0xE69F00), hex(0x8FD0F5), hex(0xF0E442), hex(0xE6E9EE)};
  return t;
}

Theme paperTheme(bool isDark, double font_pt) {
  Theme t = isDark ? darkTheme() : lightTheme();
  t.textSize = t.monoSize = t.smallSize = font_pt;
  t.headingSize = font_pt + 1;
  t.gap = 4, t.rowHeight = font_pt * 1.6, t.listRowHeight = font_pt * 1.5, t.radius = 2;
  return t;
}

Theme presenterTheme(Theme theme) {
  constexpr double kScale = 1.6;
  for (double* size : {&theme.textSize, &theme.smallSize, &theme.headingSize, &theme.monoSize, &theme.rowHeight, &theme.listRowHeight})
    *size *= kScale;
  return theme;
}

double Theme::paneHeader() const { return std::max(32.0, std::round(textSize * 2)); }
double Theme::tokenRow() const { return std::max(24.0, std::round(monoSize * 2)); }

double contrast(Color a, Color b) {
  const double x = luminance(a), y = luminance(b);
  return (std::max(x, y) + 0.05) / (std::min(x, y) + 0.05);
}

}  // namespace headscope::views
