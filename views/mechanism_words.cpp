#include "views/mechanism_words.h"

#include <algorithm>
#include <cmath>

#include "core/mechanisms/registry.h"
#include "views/figure/axis.h"

namespace headscope::views {

std::string mechanismOf(const core::ViewOptions& options, const std::string& fallback) {
  const auto found = options.words.find("mechanism");
  const bool isChosen = found != options.words.end() && !found->second.empty();
  std::string word = isChosen ? found->second : fallback;
  if (!isChosen && options.numbers.count("window") > 0) word = word.substr(0, word.find(':'));
  const core::MechanismKind* kind = core::findMechanism(word);  // a bare name: sliders give its parameters
  if (kind == nullptr) return word;
  for (const core::Parameter& parameter : kind->parameters) {
    const auto number = options.numbers.find(parameter.name);
    if (number == options.numbers.end() || parameter.kind != core::Parameter::Kind::Integer) continue;
    const double value = std::clamp(std::round(number->second), parameter.low, parameter.high);
    word += (word.size() == kind->name.size() ? ":" : ",") + parameter.name + "=" + std::to_string(static_cast<int64_t>(value));
  }
  return word;
}

double numberOf(const core::ViewOptions& options, const std::string& name, double fallback) {
  const auto found = options.numbers.find(name);
  return found == options.numbers.end() ? fallback : found->second;
}

std::string joined(const std::vector<std::string>& notes) {
  std::string out;
  for (const std::string& note : notes) out += (out.empty() ? "" : "; ") + note;
  return out;
}

std::string byteSize(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) bytes /= 1024, ++unit;
  return shortNumber(bytes) + " " + units[unit];
}

}  // namespace headscope::views
