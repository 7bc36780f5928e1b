#pragma once
// Colour ramps: from a number in [0, 1] to a colour, computed in OKLCH (Bjorn Ottosson 2020) so that equal steps look equal.
// All start from the theme's canvas where zero means "nothing there"; lightness is monotone, so they survive a grey printer.
#include <array>

#include "views/theme.h"

namespace headscope::views {

struct Oklch {
  double lightness = 0, chroma = 0, hue_deg = 0;
};

/// Nearest colour inside sRGB: chroma is lowered until it fits, lightness and hue stay.
Color fromOklch(Oklch c);
Oklch toOklch(Color c);

class ColorRamp {
 public:
  static constexpr int kSteps = 256;
  /// t is clamped to [0, 1]; NaN gives a transparent colour, the caller hatches it.
  Color at(double t) const;
  const std::array<Color, kSteps>& colors() const { return colors_; }

 private:
  friend ColorRamp attentionRamp(const Theme&);
  friend ColorRamp divergingRamp(const Theme&);
  friend ColorRamp scalarRamp(const Theme&);
  std::array<Color, kSteps> colors_{};
};

/// Weights: 0 is the canvas, 1 a deep blue (dark theme: a pale yellow-white).
ColorRamp attentionRamp(const Theme& theme);
/// Signed values: 0 is blue, 0.5 the canvas, 1 orange, equal lightness steps on both sides.
ColorRamp divergingRamp(const Theme& theme);
/// Scalars over heads (ranks, entropies): dark blue through grey to yellow, told apart by every colour vision.
ColorRamp scalarRamp(const Theme& theme);

/// Black or white, whichever reads better on `fill` (of the theme's ink and canvas).
Color inkOn(Color fill, const Theme& theme);
/// `a` over to `b`, t in [0, 1], in sRGB: for tints of the interface, not for data.
Color mix(Color a, Color b, double t);

}  // namespace headscope::views
