#include "core/model/config_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/printable.h"

namespace headscope::core {

using nlohmann::json;

json parseJsonBounded(const std::string& text, const std::string& where, int deepest) {
  const json::parser_callback_t bound = [&](int depth, json::parse_event_t, json&) {
    if (depth > deepest) throw Error("JSON is nested deeper than " + std::to_string(deepest), where);
    return true;
  };
  try {
    return json::parse(text, bound);
  } catch (const json::exception& e) {
    throw Error("not JSON (" + printable(e.what()) + ")", where);
  }
}

ConfigReader::ConfigReader(const json& object, std::string where, const json* outer)
    : object_(object), where_(std::move(where)), outer_(outer) {
  if (!object_.is_object()) throw Error("not a JSON object", where_);
}

const json* ConfigReader::find(std::string_view key) const {
  const auto at = object_.find(key);
  return at == object_.end() ? nullptr : &*at;
}

bool ConfigReader::has(std::string_view key) const {
  const json* value = find(key);
  return value != nullptr && !value->is_null();
}

bool ConfigReader::isNull(std::string_view key) const {
  const json* value = find(key);
  return value != nullptr && value->is_null();
}

bool ConfigReader::isTruthy(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr || value->is_null()) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0.0;
  if (value->is_string()) return !value->get_ref<const std::string&>().empty();
  return !value->empty();
}

int64_t ConfigReader::integer(std::string_view key, int64_t fallback, int64_t low, int64_t high) const {
  if (!has(key)) return fallback;
  const json& value = *find(key);
  int64_t number = 0;
  if (value.is_number_unsigned()) {
    const auto wide = value.get<uint64_t>();
    number = wide > static_cast<uint64_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(wide);
  } else if (value.is_number_integer()) {
    number = value.get<int64_t>();
  } else if (value.is_number_float() && std::nearbyint(value.get<double>()) == value.get<double>() &&
             std::abs(value.get<double>()) < 9e15) {
    number = static_cast<int64_t>(value.get<double>());  // some writers give whole numbers as 4096.0
  } else {
    throw fault(key, "should be a whole number, but is " + printable(value.dump(-1, ' ', true), 60));
  }
  if (number < low || number > high) {
    throw fault(key, "is " + std::to_string(number) + ", outside " + std::to_string(low) + " to " + std::to_string(high));
  }
  return number;
}

int64_t ConfigReader::requiredSize(std::string_view key, int64_t high) const {
  if (!has(key)) throw fault(key, "is missing");
  return size(key, 1, high);
}

double ConfigReader::number(std::string_view key, double fallback) const {
  if (!has(key)) return fallback;
  const json& value = *find(key);
  if (!value.is_number() || !std::isfinite(value.get<double>())) {
    throw fault(key, "should be a number, but is " + printable(value.dump(-1, ' ', true), 60));
  }
  return value.get<double>();
}

double ConfigReader::positive(std::string_view key, double fallback) const {
  const double value = number(key, fallback);
  if (!(value > 0.0) || value > 1e30) throw fault(key, "should be a positive number, but is " + std::to_string(value));
  return value;
}

bool ConfigReader::flag(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  const json& value = *find(key);
  if (!value.is_boolean()) throw fault(key, "should be true or false, but is " + printable(value.dump(-1, ' ', true), 60));
  return value.get<bool>();
}

std::string ConfigReader::text(std::string_view key, std::string_view fallback) const {
  if (!has(key)) return std::string(fallback);
  const json& value = *find(key);
  if (!value.is_string()) throw fault(key, "should be a text, but is " + printable(value.dump(-1, ' ', true), 60));
  return value.get<std::string>();
}

std::vector<std::string> ConfigReader::texts(std::string_view key) const {
  std::vector<std::string> all;
  if (!has(key)) return all;
  const json& value = *find(key);
  if (!value.is_array()) throw fault(key, "should be a list of texts");
  for (const json& item : value) {
    if (!item.is_string()) throw fault(key, "should be a list of texts");
    all.push_back(item.get<std::string>());
  }
  return all;
}

std::vector<int64_t> ConfigReader::integers(std::string_view key) const {
  std::vector<int64_t> all;
  if (!has(key)) return all;
  const json& value = *find(key);
  if (value.is_number_integer()) return {integer(key, 0, INT64_MIN, INT64_MAX)};
  if (!value.is_array()) throw fault(key, "should be a whole number or a list of them");
  for (const json& item : value) {
    if (!item.is_number_integer()) throw fault(key, "should be a list of whole numbers");
    all.push_back(item.get<int64_t>());
  }
  return all;
}

ConfigReader ConfigReader::object(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr || !value->is_object()) throw fault(key, "should be an object");
  return ConfigReader(*value, where_ + ", " + std::string(key));
}

ConfigReader ConfigReader::outermost() const { return outer_ != nullptr ? ConfigReader(*outer_, where_) : *this; }

Error ConfigReader::fault(std::string_view key, const std::string& what, const std::string& hint) const {
  return Error(what, where_ + ", field \"" + std::string(key) + "\"", hint);
}

Error ConfigReader::unsupported(std::string_view key, const std::string& why) const {
  const json* value = find(key);
  const std::string shown = value == nullptr ? "absent" : printable(value->dump(-1, ' ', true, json::error_handler_t::replace), 60);
  return fault(key, shown + " is not supported" + (why.empty() ? "" : ": " + why));
}

}  // namespace headscope::core
