#pragma once
// ConfigReader: typed reading of a config.json's fields, with the default that an absent key has. Wrong types and numbers out of
// range are Errors that name file and field. A key that is null reads as absent, unless the caller asks with isNull.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"

namespace headscope::core {

/// Parses hostile JSON: bounded depth, no exceptions other than Error naming `where`.
nlohmann::json parseJsonBounded(const std::string& text, const std::string& where, int deepest = 32);

class ConfigReader {
 public:
  /// `object` must outlive the reader. `outer` is the object around a nested one (text_config), for keys that may be in either.
  ConfigReader(const nlohmann::json& object, std::string where, const nlohmann::json* outer = nullptr);

  const std::string& where() const { return where_; }
  bool has(std::string_view key) const;     // present and not null
  bool isNull(std::string_view key) const;  // present and null
  /// Present and neither null, false, 0, "" nor an empty list or object: what Python calls true.
  bool isTruthy(std::string_view key) const;

  int64_t integer(std::string_view key, int64_t fallback, int64_t low, int64_t high) const;
  /// A size: 1 to `high`.
  int64_t size(std::string_view key, int64_t fallback, int64_t high = 1 << 24) const { return integer(key, fallback, 1, high); }
  int64_t requiredSize(std::string_view key, int64_t high = 1 << 24) const;
  /// A finite number.
  double number(std::string_view key, double fallback) const;
  double positive(std::string_view key, double fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  std::string text(std::string_view key, std::string_view fallback) const;
  std::vector<std::string> texts(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key) const;
  /// The object under the key; an Error when it is something else. Check has() first.
  ConfigReader object(std::string_view key) const;
  const nlohmann::json& raw() const { return object_; }
  /// The same reader with the object around it, for keys that a nested config leaves outside; itself when there is none.
  ConfigReader outermost() const;

  /// An Error about a field.
  Error fault(std::string_view key, const std::string& what, const std::string& hint = {}) const;
  /// An Error that says a setting is not supported, with its value.
  Error unsupported(std::string_view key, const std::string& why = {}) const;

 private:
  const nlohmann::json* find(std::string_view key) const;
  const nlohmann::json& object_;
  std::string where_;
  const nlohmann::json* outer_;
};

}  // namespace headscope::core
