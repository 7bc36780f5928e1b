#pragma once
// MechanismKind: one row of the registry: a name, what it does, its parameters with defaults and allowed ranges, and how an
// instance is made from checked arguments. Arguments: the values of one spelling, checked against the parameters.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/mechanisms/mechanism.h"

namespace headscope::core {

struct Parameter {
  enum class Kind { Integer, Real, Word, Text };  // Text: checked by the mechanism itself
  std::string name;
  Kind kind = Kind::Integer;
  std::string defaultText;
  double low = 0, high = 0;        // numbers: allowed range, both ends
  std::vector<std::string> words;  // Word: allowed values
  std::string meaning;             // one line

  static Parameter integer(std::string name, int64_t defaultValue, int64_t low, int64_t high, std::string meaning);
  static Parameter real(std::string name, double defaultValue, double low, double high, std::string meaning);
  static Parameter word(std::string name, std::string defaultValue, std::vector<std::string> words, std::string meaning);
  static Parameter text(std::string name, std::string defaultValue, std::string meaning);
  /// "1 to 16777216", "pool, gaussian or svd".
  std::string allowed() const;
};

class Arguments {
 public:
  Arguments() = default;
  /// Values by name; names that are absent take their default. Throws Error naming mechanism, parameter and allowed range.
  Arguments(std::string mechanism, const std::vector<Parameter>& parameters, const std::map<std::string, std::string>& given);

  const std::string& mechanism() const { return mechanism_; }
  int64_t integer(std::string_view name) const;
  double real(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  uint64_t seed() const { return static_cast<uint64_t>(integer("seed")); }
  /// "local:window=64": every parameter, in declared order.
  std::string spelled() const;

 private:
  std::string mechanism_;
  std::vector<std::pair<std::string, std::string>> values_;
};

struct MechanismKind {
  std::string name;
  std::string summary;  // one line, no final stop
  std::vector<Parameter> parameters;
  std::function<std::unique_ptr<Mechanism>(const Arguments&)> make;
};

/// What most mechanisms share: name and spelling from their arguments.
class NamedMechanism : public Mechanism {
 public:
  explicit NamedMechanism(Arguments arguments) : arguments_(std::move(arguments)) {}
  std::string name() const override { return arguments_.mechanism(); }
  std::string spelled() const override { return arguments_.spelled(); }
  bool isCausal() const override { return true; }

 protected:
  const Arguments& arguments() const { return arguments_; }

 private:
  Arguments arguments_;
};

/// The largest size that any parameter takes: beyond it indices and allocations stop making sense.
inline constexpr int64_t kLargestParameter = int64_t{1} << 24;

}  // namespace headscope::core
