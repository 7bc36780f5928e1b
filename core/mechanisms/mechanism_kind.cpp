#include "core/mechanisms/mechanism_kind.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/base/error.h"

namespace headscope::core {
namespace {

std::string numberText(double value) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out.precision(12);
  out << value;
  return out.str();
}

template <class T>
bool readWhole(const std::string& text, T& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool isAllowed(const Parameter& parameter, const std::string& text) {
  switch (parameter.kind) {
    case Parameter::Kind::Integer: {
      int64_t value = 0;
      return readWhole(text, value) && static_cast<double>(value) >= parameter.low && static_cast<double>(value) <= parameter.high;
    }
    case Parameter::Kind::Real: {
      double value = 0;
      return readWhole(text, value) && std::isfinite(value) && value >= parameter.low && value <= parameter.high;
    }
    case Parameter::Kind::Word:
      return std::find(parameter.words.begin(), parameter.words.end(), text) != parameter.words.end();
    case Parameter::Kind::Text:
      return text.size() <= 65536;
  }
  return false;
}

}  // namespace

Parameter Parameter::integer(std::string name, int64_t defaultValue, int64_t low, int64_t high, std::string meaning) {
  return {std::move(name),   Kind::Integer, std::to_string(defaultValue), static_cast<double>(low), static_cast<double>(high), {},
          std::move(meaning)};
}
Parameter Parameter::real(std::string name, double defaultValue, double low, double high, std::string meaning) {
  return {std::move(name), Kind::Real, numberText(defaultValue), low, high, {}, std::move(meaning)};
}
Parameter Parameter::word(std::string name, std::string defaultValue, std::vector<std::string> words, std::string meaning) {
  return {std::move(name), Kind::Word, std::move(defaultValue), 0, 0, std::move(words), std::move(meaning)};
}
Parameter Parameter::text(std::string name, std::string defaultValue, std::string meaning) {
  return {std::move(name), Kind::Text, std::move(defaultValue), 0, 0, {}, std::move(meaning)};
}

std::string Parameter::allowed() const {
  if (kind == Kind::Integer || kind == Kind::Real) return numberText(low) + " to " + numberText(high);
  if (kind == Kind::Text) return "text";
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) out += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return out;
}

Arguments::Arguments(std::string mechanism, const std::vector<Parameter>& parameters, const std::map<std::string, std::string>& given)
    : mechanism_(std::move(mechanism)) {
  for (const auto& entry : given) {
    const std::string& name = entry.first;
    const bool isKnown = std::any_of(parameters.begin(), parameters.end(), [&](const Parameter& p) { return p.name == name; });
    if (isKnown) continue;
    std::string known;
    for (const Parameter& p : parameters) known += (known.empty() ? "" : ", ") + p.name;
    throw Error("unknown parameter \"" + name + "\"", "mechanism " + mechanism_, known.empty() ? "it takes none" : "it takes " + known);
  }
  for (const Parameter& p : parameters) {
    const auto found = given.find(p.name);
    const std::string& text = found != given.end() ? found->second : p.defaultText;
    if (!isAllowed(p, text)) {
      throw Error("\"" + text + "\" is not allowed for " + p.name, "mechanism " + mechanism_, p.name + " takes " + p.allowed());
    }
    values_.emplace_back(p.name, text);
  }
}

const std::string& Arguments::text(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return value;
  }
  throw std::logic_error("no parameter " + std::string(name) + " in " + mechanism_);
}

int64_t Arguments::integer(std::string_view name) const {
  int64_t value = 0;
  readWhole(text(name), value);
  return value;
}

double Arguments::real(std::string_view name) const {
  double value = 0;
  readWhole(text(name), value);
  return value;
}

std::string Arguments::spelled() const {
  std::string out = mechanism_;
  for (const auto& [name, value] : values_) out += (out.size() == mechanism_.size() ? ":" : ",") + name + "=" + value;
  return out;
}

}  // namespace headscope::core
