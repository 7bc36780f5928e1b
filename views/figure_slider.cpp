#include "views/figure_slider.h"

#include <algorithm>
#include <cmath>

#include "views/figure/build.h"

namespace headscope::views {
namespace {

constexpr double kTrack = 84, kReach = 5;  // points: length, and how far beyond its ends the mouse still holds it

}  // namespace

double FigureSlider::clamped(double value) const {
  if (!std::isfinite(value)) return low;
  return std::clamp(isWhole ? std::round(value) : value, low, high);
}

double sliderWidth(const std::string& label, const std::string& valueText, const ViewFrame& frame) {
  const Font font = frame.theme.small();
  return frame.measure.width(label, font) + frame.measure.width(valueText, font) + kTrack + 2 * frame.theme.gap;
}

double addSlider(Figure& figure, const FigureSlider& slider, Point at, double value, const std::string& label, const std::string& valueText,
                 const std::string& tip, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const Font font = t.small();
  const double x = at.x + frame.measure.width(label, font) + t.gap;
  const double v = slider.clamped(value);
  const double unit = slider.isLog ? std::log(v / slider.low) / std::log(slider.high / slider.low)
                                   : (slider.high > slider.low ? (v - slider.low) / (slider.high - slider.low) : 0);
  const double knob = x + kTrack * std::clamp(unit, 0.0, 1.0);
  const bool isHeld = frame.under.kind == Pick::Kind::Control && frame.under.a == slider.id;
  figure.addOverlay(textAt(at, label, font, t.inkSecond, AnchorX::Left, AnchorY::Middle));
  figure.addOverlay(RectItem{{x, at.y - 1, kTrack, 2}, t.line, kTransparent, 0, 1});
  figure.addOverlay(RectItem{{x, at.y - 1, knob - x, 2}, t.accent, kTransparent, 0, 1});
  const double r = isHeld ? 5 : 4;
  figure.addOverlay(RectItem{{knob - r, at.y - r, 2 * r, 2 * r}, t.accent, t.canvas, 1, r});
  figure.addOverlay(textAt({x + kTrack + t.gap, at.y}, valueText, font, t.ink, AnchorX::Left, AnchorY::Middle));
  Item area = pickArea({x - kReach, at.y - 10, kTrack + 2 * kReach, 20}, {Pick::Kind::Control, slider.id, -1, -1, tip});
  area.pick.within = {x, at.y, kTrack, 0};
  figure.overlay.push_back(std::move(area));
  return x + kTrack + t.gap + frame.measure.width(valueText, font);
}

bool isOn(const FigureSlider& slider, const View::Gesture& gesture) {
  return (gesture.kind == View::Gesture::Kind::Drag || gesture.kind == View::Gesture::Kind::Click) &&
         gesture.pick.kind == Pick::Kind::Control && gesture.pick.a == slider.id && gesture.pick.within.width > 0;
}

double valueOf(const FigureSlider& slider, const View::Gesture& gesture) {
  const Rect& track = gesture.pick.within;
  const double unit = std::clamp((gesture.at.x - track.x) / track.width, 0.0, 1.0);
  return slider.clamped(slider.isLog ? slider.low * std::pow(slider.high / slider.low, unit)
                                     : slider.low + unit * (slider.high - slider.low));
}

double addWordButton(Figure& figure, int64_t id, int64_t part, Point at, const std::string& word, bool isLit, const std::string& tip,
                     const ViewFrame& frame) {
  const Theme& t = frame.theme;
  const double width = frame.measure.width(word, t.small());
  const bool isHover = frame.under.kind == Pick::Kind::Control && frame.under.a == id && frame.under.b == part;
  figure.addOverlay(textAt(at, word, t.small(), isLit ? t.accent : isHover ? t.ink : t.inkSecond, AnchorX::Left, AnchorY::Middle));
  figure.overlay.push_back(pickArea({at.x - 4, at.y - 10, width + 8, 20}, {Pick::Kind::Control, id, part, -1, tip}));
  return at.x + width;
}

}  // namespace headscope::views
