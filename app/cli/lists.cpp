// Lists on the command line: indices "0,3-5", heads "3.1,4.*"; and whether what was chosen is there.
#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>
#include <utility>

#include "app/cli/inputs.h"
#include "core/attention/head_name.h"
#include "core/base/error.h"

namespace headscope::app {
namespace {

std::vector<std::string_view> splitAt(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

int64_t parseIndex(std::string_view text, int64_t count, const std::string& flag) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) {
    throw core::Error("\"" + std::string(text) + "\" is not a number", flag, "write 0,3-5");
  }
  if (value < 0 || value >= count) {
    throw core::Error(std::to_string(value) + " is outside 0 to " + std::to_string(count - 1), flag);
  }
  return value;
}

/// "4" or "*" (all).
std::vector<int64_t> parseIndexOrAll(std::string_view text, int64_t count, const std::string& flag) {
  std::vector<int64_t> indices;
  if (text == "*") {
    for (int64_t i = 0; i < count; ++i) indices.push_back(i);
  } else {
    indices.push_back(parseIndex(text, count, flag));
  }
  return indices;
}

}  // namespace

std::vector<int64_t> parseIndices(const std::string& text, int64_t count, const std::string& flag) {
  std::set<int64_t> indices;
  for (const std::string_view part : splitAt(text, ',')) {
    const size_t dash = part.find('-');
    const int64_t first = parseIndex(part.substr(0, dash), count, flag);
    const int64_t last = dash == std::string_view::npos ? first : parseIndex(part.substr(dash + 1), count, flag);
    if (last < first) throw core::Error("\"" + std::string(part) + "\" runs backwards", flag);
    for (int64_t i = first; i <= last; ++i) indices.insert(i);
  }
  return {indices.begin(), indices.end()};
}

std::vector<core::HeadRef> parseHeads(const std::string& text, int64_t layers, int64_t heads, const std::string& flag) {
  std::set<core::HeadRef> refs;
  for (const std::string_view part : splitAt(text == "all" ? "*.*" : std::string_view(text), ',')) {
    const size_t dot = part.find('.');
    if (dot == std::string_view::npos) {
      throw core::Error("\"" + std::string(part) + "\" is not a head", flag, "write LAYER.HEAD, as 3.1 or 4.*, or all");
    }
    for (const int64_t layer : parseIndexOrAll(part.substr(0, dot), layers, flag)) {
      for (const int64_t head : parseIndexOrAll(part.substr(dot + 1), heads, flag)) refs.insert({layer, head});
    }
  }
  return {refs.begin(), refs.end()};
}

void requireInside(const core::Selection& selection, const core::ModelSpec& spec, int64_t tokens, const std::string& head,
                   const std::string& query, const std::string& key) {
  if (selection.layer >= spec.layers || selection.head >= spec.heads) {
    throw core::Error("head " + core::headName(selection.ref()) + " is outside the model's " + std::to_string(spec.layers) + " x " +
                          std::to_string(spec.heads) + " heads",
                      head);
  }
  for (const auto& [token, where] : {std::pair(selection.query, &query), std::pair(selection.key, &key)}) {
    if (token >= tokens)
      throw core::Error("the prompt has " + std::to_string(tokens) + " tokens, none at " + std::to_string(token), *where);
  }
}

}  // namespace headscope::app
