#include "core/tokenizer/json_fields.h"

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {

void JsonField::fail(const std::string& what, const std::string& hint) const { throw Error(what, where_, hint); }

JsonField JsonField::at(const std::string& name) const {
  if (!value_->is_object()) fail("an object is expected here");
  const auto found = value_->find(name);
  if (found == value_->end()) fail("the field \"" + name + "\" is missing");
  return {*found, where_ + "." + name};
}

bool JsonField::has(const std::string& name) const {
  if (!value_->is_object()) fail("an object is expected here");
  const auto found = value_->find(name);
  return found != value_->end() && !found->is_null();
}

size_t JsonField::count() const {
  if (!value_->is_array()) fail("a list is expected here");
  return value_->size();
}

JsonField JsonField::element(size_t index) const { return {(*value_)[index], where_ + "[" + std::to_string(index) + "]"}; }

std::string JsonField::string() const {
  if (!value_->is_string()) fail("a string is expected here");
  return value_->get<std::string>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail("true or false is expected here");
  return value_->get<bool>();
}

int64_t JsonField::integer() const {
  if (!value_->is_number_integer()) fail("an integer is expected here");
  if (value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) fail("the number is out of range");
  return value_->get<int64_t>();
}

std::string JsonField::string(const std::string& name, const std::string& otherwise) const {
  return has(name) ? at(name).string() : otherwise;
}
bool JsonField::boolean(const std::string& name, bool otherwise) const { return has(name) ? at(name).boolean() : otherwise; }
int64_t JsonField::integer(const std::string& name, int64_t otherwise) const { return has(name) ? at(name).integer() : otherwise; }

std::string JsonField::character() const {
  const std::string text = string();
  if (countCodePoints(text) != 1) fail("a single character is expected here");
  return text;
}

}  // namespace headscope::core
