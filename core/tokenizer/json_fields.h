#pragma once
// Reading fields of a parsed JSON document so that every fault names the file and the path of the field.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace headscope::core {

/// A value and where it stands ("tokenizer.json: normalizer.pattern"). Cheap to copy; the document must outlive it.
class JsonField {
 public:
  JsonField(const nlohmann::json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& where() const { return where_; }
  bool isNull() const { return value_->is_null(); }

  /// Member of an object; throws Error when this is no object or has no such member.
  JsonField at(const std::string& name) const;
  bool has(const std::string& name) const;  // present and not null
  JsonField element(size_t index) const;    // of an array
  size_t count() const;                     // of an array; throws Error when it is none

  std::string string() const;
  bool boolean() const;
  int64_t integer() const;
  std::string string(const std::string& name, const std::string& otherwise) const;
  bool boolean(const std::string& name, bool otherwise) const;
  int64_t integer(const std::string& name, int64_t otherwise) const;
  /// A string of one character.
  std::string character() const;

  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

 private:
  const nlohmann::json* value_;
  std::string where_;
};

}  // namespace headscope::core
