#include "views/color_ramp.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace headscope::views {
namespace {

struct Linear {
  double r, g, b;
  bool isInside() const {
    constexpr double kSlack = 1e-4;
    return std::min({r, g, b}) >= -kSlack && std::max({r, g, b}) <= 1 + kSlack;
  }
};

Linear linearFromOklab(double L, double a, double b) {
  const double l = L + 0.3963377774 * a + 0.2158037573 * b;
  const double m = L - 0.1055613458 * a - 0.0638541728 * b;
  const double s = L - 0.0894841775 * a - 1.2914855480 * b;
  const double l3 = l * l * l, m3 = m * m * m, s3 = s * s * s;
  return {4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3, -1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3,
          -0.0041960863 * l3 - 0.7034186147 * m3 + 1.7076147010 * s3};
}

Linear linearFrom(Oklch c) {
  const double h = c.hue_deg * std::numbers::pi / 180;
  return linearFromOklab(c.lightness, c.chroma * std::cos(h), c.chroma * std::sin(h));
}

uint8_t encode(double linear) {
  const double v = std::clamp(linear, 0.0, 1.0);
  const double s = v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
  return static_cast<uint8_t>(s * 255 + 0.5);
}

double decode(uint8_t v) {
  const double s = v / 255.0;
  return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4);
}

double lerp(double a, double b, double t) { return a + (b - a) * t; }

// Piecewise linear through (t, value) knots.
template <size_t N>
double through(const std::array<std::pair<double, double>, N>& knots, double t) {
  for (size_t i = 1; i < N; ++i) {
    if (t <= knots[i].first)
      return lerp(knots[i - 1].second, knots[i].second, (t - knots[i - 1].first) / (knots[i].first - knots[i - 1].first));
  }
  return knots.back().second;
}

// One arm of the diverging ramp: canvas at 0, `hue` at 1.
Color signedArm(const Oklch& canvas, bool isDark, double hue, double t) {
  const double endLightness = isDark ? 0.80 : 0.54;
  return fromOklch({lerp(canvas.lightness, endLightness, t), 0.15 * std::sqrt(t), hue});
}

}  // namespace

Color fromOklch(Oklch c) {
  Linear rgb = linearFrom(c);
  if (!rgb.isInside()) {
    double low = 0, high = c.chroma;
    for (int i = 0; i < 24; ++i) {
      const double mid = (low + high) / 2;
      (linearFrom({c.lightness, mid, c.hue_deg}).isInside() ? low : high) = mid;
    }
    rgb = linearFrom({c.lightness, low, c.hue_deg});
  }
  return {encode(rgb.r), encode(rgb.g), encode(rgb.b), 255};
}

Oklch toOklch(Color c) {
  const double r = decode(c.r), g = decode(c.g), b = decode(c.b);
  const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  const double L = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
  const double A = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
  const double B = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
  return {L, std::hypot(A, B), std::atan2(B, A) * 180 / std::numbers::pi};
}

Color ColorRamp::at(double t) const {
  if (std::isnan(t)) return kTransparent;
  return colors_[static_cast<size_t>(std::clamp(t, 0.0, 1.0) * (kSteps - 1) + 0.5)];
}

ColorRamp attentionRamp(const Theme& theme) {
  const double canvas = toOklch(theme.canvas).lightness;
  ColorRamp ramp;
  for (int i = 0; i < ColorRamp::kSteps; ++i) {
    const double t = i / (ColorRamp::kSteps - 1.0);
    Oklch c;
    if (theme.isDark) {
      c.lightness = lerp(canvas, 0.95, t);
      c.hue_deg = through<5>({{{0, 258}, {0.35, 248}, {0.6, 205}, {0.8, 150}, {1, 100}}}, t);
      c.chroma = through<5>({{{0, 0.02}, {0.25, 0.085}, {0.55, 0.125}, {0.8, 0.075}, {1, 0.025}}}, t);
    } else {
      c.lightness = lerp(canvas, 0.28, t);
      c.hue_deg = 255;
      c.chroma = through<4>({{{0, 0}, {0.5, 0.14}, {0.7, 0.135}, {1, 0.075}}}, t);
    }
    ramp.colors_[static_cast<size_t>(i)] = fromOklch(c);
  }
  ramp.colors_[0] = theme.canvas;
  return ramp;
}

ColorRamp divergingRamp(const Theme& theme) {
  const Oklch canvas = toOklch(theme.canvas);
  ColorRamp ramp;
  for (int i = 0; i < ColorRamp::kSteps; ++i) {
    const double t = i / (ColorRamp::kSteps - 1.0) * 2 - 1;
    ramp.colors_[static_cast<size_t>(i)] = signedArm(canvas, theme.isDark, t < 0 ? 252 : 52, std::abs(t));
  }
  ramp.colors_[127] = ramp.colors_[128] = theme.canvas;
  return ramp;
}

ColorRamp scalarRamp(const Theme& theme) {
  // Straight in OKLab between a navy and a yellow, so that the middle is grey; the dark theme starts lighter to stand off its canvas.
  const Oklch from{theme.isDark ? 0.36 : 0.28, 0.075, 262}, to{theme.isDark ? 0.93 : 0.90, 0.15, 98};
  const double degree = std::numbers::pi / 180;
  ColorRamp ramp;
  for (int i = 0; i < ColorRamp::kSteps; ++i) {
    const double t = i / (ColorRamp::kSteps - 1.0);
    const double a = lerp(from.chroma * std::cos(from.hue_deg * degree), to.chroma * std::cos(to.hue_deg * degree), t);
    const double b = lerp(from.chroma * std::sin(from.hue_deg * degree), to.chroma * std::sin(to.hue_deg * degree), t);
    ramp.colors_[static_cast<size_t>(i)] = fromOklch({lerp(from.lightness, to.lightness, t), std::hypot(a, b), std::atan2(b, a) / degree});
  }
  return ramp;
}

Color inkOn(Color fill, const Theme& theme) { return contrast(theme.ink, fill) >= contrast(theme.canvas, fill) ? theme.ink : theme.canvas; }

Color mix(Color a, Color b, double t) {
  const auto part = [t](uint8_t x, uint8_t y) { return static_cast<uint8_t>(lerp(x, y, std::clamp(t, 0.0, 1.0)) + 0.5); };
  return {part(a.r, b.r), part(a.g, b.g), part(a.b, b.b), part(a.a, b.a)};
}

}  // namespace headscope::views
