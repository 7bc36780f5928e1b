#include "views/parameter_sliders.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/mechanisms/registry.h"
#include "views/figure/axis.h"
#include "views/figure/build.h"
#include "views/mechanism_words.h"

namespace headscope::views {
namespace {

constexpr int64_t kWords = 40, kFirst = 41;  // Pick::a of the words, and of the first slider
constexpr double kRow = 1.9, kLowPane = 30;  // times the type's size

struct NumberSlider {
  const core::Parameter* parameter = nullptr;
  FigureSlider slider;
  double value = 0;
};

/// Seeds are no scale to slide along: the popover has them.
bool isOnScale(const core::Parameter& p) {
  return (p.kind == core::Parameter::Kind::Integer || p.kind == core::Parameter::Kind::Real) && p.name != "seed" && p.name != "from";
}

std::vector<NumberSlider> slidersOf(const ViewInput& input) {
  std::vector<NumberSlider> out;
  const std::string word = shownMechanism(input);
  const core::MechanismKind* kind = core::findMechanism(word.substr(0, word.find(':')));
  if (kind == nullptr) return out;
  const double count = static_cast<double>(std::max<int64_t>(2, input.trace ? input.trace->count() : 2));
  for (const core::Parameter& p : kind->parameters) {
    if (!isOnScale(p)) continue;
    NumberSlider number;
    number.parameter = &p;
    const std::string said = parameterIn(word, p.name);
    number.value = std::strtod(said.empty() ? p.defaultText.c_str() : said.c_str(), nullptr);
    const bool isReal = p.kind == core::Parameter::Kind::Real;
    const double high = isReal ? p.high : std::min(p.high, count);
    number.slider = {kFirst + static_cast<int64_t>(out.size()), p.low, std::max(high, p.low + 1e-9), p.low > 0 && high / p.low > 50,
                     !isReal};
    out.push_back(number);
  }
  return out;
}

/// "source_local" reads as two words.
std::string plain(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

}  // namespace

double parameterSlidersHeight(Size size, bool isPaper, const Theme& theme) {
  return isPaper || (size.height > 0 && size.height < kLowPane * theme.smallSize) ? 0 : theme.gap + 2 * kRow * theme.smallSize;
}

void addParameterSliders(Figure& figure, const ViewInput& input, const std::vector<std::string>& names, const ViewFrame& frame) {
  const Theme& t = frame.theme;
  if (parameterSlidersHeight(frame.size, frame.isPaper, t) <= 0) return;
  const std::string word = shownMechanism(input), shown = word.substr(0, word.find(':'));
  const double space = 1.5 * t.gap, right = frame.size.width - t.gap;
  Point at{t.gap, t.gap / 2 + kRow * t.smallSize / 2};
  const auto widthOf = [&](const std::string& name) { return frame.measure.width(plain(name), t.small()); };
  const bool isListed = std::find(names.begin(), names.end(), shown) != names.end();
  bool isThere = !isListed;
  for (size_t i = 0; i < names.size(); ++i) {
    const double kept = isThere || names[i] == shown ? 0 : widthOf(shown) + space;  // room for the shown one
    if (at.x + widthOf(names[i]) + kept > right) continue;
    const core::MechanismKind* kind = core::findMechanism(names[i]);
    at.x = addWordButton(figure, kWords, static_cast<int64_t>(i), at, plain(names[i]), names[i] == shown,
                         kind != nullptr ? kind->summary : names[i], frame) +
           space;
    isThere = isThere || names[i] == shown;
  }
  at = {t.gap, at.y + kRow * t.smallSize};
  for (const NumberSlider& number : slidersOf(input)) {
    const std::string value = shortNumber(number.value, 4);
    if (at.x + sliderWidth(number.parameter->name, value, frame) > right) break;  // the popover has the rest
    at.x = addSlider(figure, number.slider, at, number.value, number.parameter->name, value, number.parameter->meaning, frame) + 3 * t.gap;
  }
}

bool moveParameterSliders(const View::Gesture& gesture, const ViewInput& input, const std::vector<std::string>& names,
                          core::ViewOptions& options) {
  const Pick& pick = gesture.pick;
  if (gesture.kind == View::Gesture::Kind::Click && pick.kind == Pick::Kind::Control && pick.a == kWords && pick.b >= 0 &&
      static_cast<size_t>(pick.b) < names.size()) {
    const int64_t count = input.trace ? input.trace->count() : 0;
    chooseMechanism(options, sizedMechanism(names[static_cast<size_t>(pick.b)], count));
    return true;
  }
  for (const NumberSlider& number : slidersOf(input)) {
    if (!isOn(number.slider, gesture)) continue;
    options.numbers[number.parameter->name] = valueOf(number.slider, gesture);
    return true;
  }
  return false;
}

}  // namespace headscope::views
