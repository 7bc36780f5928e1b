#include "core/model/class_names.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/files.h"

namespace headscope::core {
namespace {
constexpr uint64_t kLongestFile = uint64_t{16} << 20;  // opening the model read it, and judged the rest
}

std::vector<std::string> classNames(const Model& model) {
  const int64_t classes = model.spec().classes;
  std::vector<std::string> names(static_cast<size_t>(classes));
  if (classes == 0) return names;
  const auto config = nlohmann::json::parse(readTextFile(model.folder() / "config.json", kLongestFile), nullptr, false);
  if (!config.is_object() || !config.contains("id2label") || !config["id2label"].is_object()) return names;
  for (const auto& [key, name] : config["id2label"].items()) {
    int64_t number = -1;
    const auto [end, fault] = std::from_chars(key.data(), key.data() + key.size(), number);
    if (fault != std::errc() || end != key.data() + key.size() || number < 0 || number >= classes || !name.is_string()) continue;
    names[static_cast<size_t>(number)] = name.get<std::string>();
  }
  return names;
}

}  // namespace headscope::core
