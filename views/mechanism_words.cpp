#include "views/mechanism_words.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/attention/effective_maps.h"
#include "core/mechanisms/registry.h"
#include "views/figure/axis.h"

namespace headscope::views {

namespace {

/// The largest power of two that is at most a quarter of the prompt.
int64_t quarterOf(int64_t count) {
  int64_t part = 1;
  while (part * 8 <= count) part *= 2;
  return part;
}

bool isNumber(const core::Parameter& p) { return p.kind == core::Parameter::Kind::Integer || p.kind == core::Parameter::Kind::Real; }

std::string spelledNumber(const core::Parameter& parameter, double value) {
  const double inside = std::clamp(value, parameter.low, parameter.high);
  if (parameter.kind == core::Parameter::Kind::Integer) return std::to_string(static_cast<int64_t>(std::round(inside)));
  return shortNumber(inside, 6);
}

/// Where the value of a parameter begins in "name:a=1,b=2"; npos: it is not there.
size_t valueAt(const std::string& word, const std::string& name) {
  for (size_t at = word.find(':'); at != std::string::npos; at = word.find(',', at + 1)) {
    if (word.compare(at + 1, name.size() + 1, name + "=") == 0) return at + name.size() + 2;
  }
  return std::string::npos;
}

size_t valueLength(const std::string& word, size_t at) { return std::min(word.find(',', at), word.size()) - at; }

/// A value in place of what "name:a=1,b=2" says of it, or added.
void setParameter(std::string& word, const std::string& name, const std::string& value) {
  const size_t at = valueAt(word, name);
  if (at != std::string::npos) {
    word.replace(at, valueLength(word, at), value);
  } else {
    word += (word.find(':') == std::string::npos ? ":" : ",") + name + "=" + value;
  }
}

}  // namespace

std::string mechanismOf(const core::ViewOptions& options, const std::string& fallback) {
  const auto found = options.words.find("mechanism");
  std::string word = found != options.words.end() && !found->second.empty() ? found->second : fallback;
  const core::MechanismKind* kind = core::findMechanism(word.substr(0, word.find(':')));
  if (kind == nullptr) return word;
  for (const core::Parameter& parameter : kind->parameters) {
    const auto number = options.numbers.find(parameter.name);
    if (number != options.numbers.end() && isNumber(parameter))
      setParameter(word, parameter.name, spelledNumber(parameter, number->second));
  }
  return word;
}

std::string parameterIn(const std::string& word, const std::string& name) {
  const size_t at = valueAt(word, name);
  return at == std::string::npos ? std::string() : word.substr(at, valueLength(word, at));
}

void chooseMechanism(core::ViewOptions& options, const std::string& spelled) {
  options.words["mechanism"] = spelled;
  const core::MechanismKind* kind = core::findMechanism(spelled.substr(0, spelled.find(':')));
  if (kind == nullptr) return;
  for (const core::Parameter& parameter : kind->parameters) options.numbers.erase(parameter.name);
}

std::string shownMechanism(const ViewInput& input) {
  const int64_t count = input.trace ? input.trace->count() : 0;
  return mechanismOf(input.options, "local:window=" + std::to_string(std::clamp<int64_t>(quarterOf(count), 4, 64)));
}

std::string shownSubject(const ViewInput& input) { return headName(input.selection) + ", " + shortMechanism(shownMechanism(input)); }

std::string shownKey(const ViewInput& input) {
  return std::to_string(reinterpret_cast<uintptr_t>(input.trace.get())) + ":" + headName(input.selection) + ":" + shownMechanism(input);
}

std::string sizedMechanism(const std::string& name, int64_t count) {
  std::string word = name;
  const core::MechanismKind* kind = core::findMechanism(name);
  if (kind == nullptr) return word;
  const int64_t most = quarterOf(count);
  for (const core::Parameter& p : kind->parameters) {
    const bool isSize = p.name == "window" || p.name == "k" || p.name == "landmarks" || p.name == "rank" || p.name == "clusters" ||
                        p.name == "size" || p.name == "stride";
    const double standard = isSize ? std::strtod(p.defaultText.c_str(), nullptr) : 0;
    if (isSize && static_cast<double>(most) < standard) setParameter(word, p.name, std::to_string(most));
  }
  return word;
}

std::string everyMechanism(int64_t count) {
  std::string out;
  for (const core::MechanismKind& kind : core::allMechanisms()) {
    if (kind.name == "dense" || kind.name == "causal") continue;
    out += (out.empty() ? "" : ";") + sizedMechanism(kind.name, count);
  }
  return out;
}

std::string whatIf(const std::string& mechanism) { return mechanism.rfind("dense_attention", 0) == 0 ? " (a what-if)" : ""; }

std::string replacedWords(const std::string& mechanism) {
  return mechanism.empty() ? std::string() : " under " + mechanism + whatIf(mechanism);
}

std::string replacedSubject(const ViewInput& input, core::HeadRef head) {
  const core::EffectiveMaps* maps = input.trace ? input.trace->effectiveMaps() : nullptr;
  const std::string mechanism = maps != nullptr ? maps->mechanismOf(head) : std::string();
  return core::headName(head) + (mechanism.empty() ? std::string() : " under " + shortMechanism(mechanism) + whatIf(mechanism));
}

std::string shortMechanism(const std::string& spelled) {
  const core::MechanismKind* kind = core::findMechanism(spelled.substr(0, spelled.find(':')));
  if (kind == nullptr) return spelled;
  std::string out = kind->name;
  for (size_t i = 0; i < kind->parameters.size(); ++i) {
    const core::Parameter& p = kind->parameters[i];
    const std::string value = parameterIn(spelled, p.name);
    if (value.empty()) continue;
    const bool isTelling = i == 0 && isNumber(p) && value != "0" && value != "-1";  // 0, -1: "as it is"
    if (isTelling || value != p.defaultText) out += (out == kind->name ? " " : ", ") + value;
  }
  return out;
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
