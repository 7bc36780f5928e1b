#pragma once
// FigureSlider: a small slider inside a figure: label, track with a knob, value. It lies in the overlay and never exports. The
// view draws it and answers its gestures with the same description; the gesture's pick knows the track.
#include <string>

#include "views/view.h"

namespace headscope::views {

struct FigureSlider {
  int64_t id = 0;  // Pick::a of its Control; different for each control of a view
  double low = 0, high = 1;
  bool isLog = false;    // both ends must be positive
  bool isWhole = false;  // round values
  double clamped(double value) const;
};

/// `at`: left end, at half the height. Returns the right end, so that the next one can follow.
double addSlider(Figure& figure, const FigureSlider& slider, Point at, double value, const std::string& label, const std::string& valueText,
                 const std::string& tip, const ViewFrame& frame);
/// Points that addSlider will take with these texts.
double sliderWidth(const std::string& label, const std::string& valueText, const ViewFrame& frame);

/// True for a click or drag that began on the slider.
bool isOn(const FigureSlider& slider, const View::Gesture& gesture);
double valueOf(const FigureSlider& slider, const View::Gesture& gesture);

/// A word that acts as a button in the overlay; `isOn` lights it. `at`: left end, at half the height. Returns the right end.
double addWordButton(Figure& figure, int64_t id, int64_t part, Point at, const std::string& word, bool isOn, const std::string& tip,
                     const ViewFrame& frame);

}  // namespace headscope::views
