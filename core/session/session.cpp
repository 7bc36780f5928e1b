#include "core/session/session.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/error.h"

namespace headscope::core {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTextLimit = 32u << 20;
constexpr int kDepthLimit = 32;
constexpr size_t kPaneLimit = 16, kBrushLimit = 1u << 16, kIdLimit = 1u << 24, kOptionLimit = 256;

const char* scaleWord(ColorScale scale) {
  return scale == ColorScale::Linear ? "linear" : scale == ColorScale::Log ? "log" : "square_root";
}

Json headJson(const HeadRef& head) { return Json::array({head.layer, head.head}); }

Json optionsJson(const ViewOptions& o) {
  Json json{{"scale", scaleWord(o.scale)}, {"hide_first", o.hideFirst}};
  if (o.limits) json["limits"] = {o.limits->first, o.limits->second};
  if (o.rows > 0) json["visible"] = {o.firstRow, o.rows, o.firstCol, o.cols};
  json["threshold"] = o.threshold;
  if (!o.sortBy.empty()) json["sort_by"] = o.sortBy;
  if (!o.numbers.empty()) json["numbers"] = o.numbers;
  if (!o.words.empty()) json["words"] = o.words;
  return json;
}

// Reads fields of one JSON object; every complaint names the file and the field.
class Reader {
 public:
  Reader(const Json& json, std::string where, std::string field) : json_(json), where_(std::move(where)), field_(std::move(field)) {
    if (!json_.is_object()) fail("", "is not an object");
  }

  [[noreturn]] void fail(const std::string& name, const std::string& fault) const {
    const std::string path = field_.empty() ? name : name.empty() ? field_ : field_ + "." + name;
    throw Error("the session's " + (path.empty() ? "text" : "field \"" + path + "\"") + " " + fault, where_);
  }

  const Json* find(const char* name) const {
    const auto it = json_.find(name);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  std::string text(const char* name, std::string fallback = {}) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_string()) fail(name, "is not a text");
    return value->get<std::string>();
  }
  double number(const char* name, double fallback, double low, double high) const {
    const Json* value = find(name);
    return value == nullptr ? fallback : numberIn(*value, name, low, high);
  }
  double numberIn(const Json& value, const std::string& name, double low, double high) const {
    if (!value.is_number()) fail(name, "is not a number");
    const double v = value.get<double>();
    if (!std::isfinite(v) || v < low || v > high) fail(name, "is outside its range");
    return v;
  }
  int64_t integer(const char* name, int64_t fallback, int64_t low, int64_t high) const {
    const Json* value = find(name);
    return value == nullptr ? fallback : integerIn(*value, name, low, high);
  }
  int64_t integerIn(const Json& value, const std::string& name, int64_t low, int64_t high) const {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))) {
      fail(name, "is not a whole number");
    }
    const auto v = value.get<int64_t>();
    if (v < low || v > high) fail(name, "is outside its range");
    return v;
  }
  bool flag(const char* name, bool fallback) const {
    const Json* value = find(name);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) fail(name, "is neither true nor false");
    return value->get<bool>();
  }
  /// nullptr when absent; the length is checked.
  const Json* list(const char* name, size_t limit) const {
    const Json* value = find(name);
    if (value == nullptr) return nullptr;
    if (!value->is_array()) fail(name, "is not a list");
    if (value->size() > limit)
      fail(name, "has " + std::to_string(value->size()) + " entries, more than the " + std::to_string(limit) + " allowed");
    return value;
  }
  Reader object(const char* name) const { return {json_.at(name), where_, field_.empty() ? name : field_ + "." + name}; }
  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }
  std::string path(const std::string& name) const { return field_.empty() ? name : field_ + "." + name; }

 private:
  const Json& json_;
  std::string where_, field_;
};

constexpr int64_t kIndexLimit = int64_t{1} << 40;
constexpr double kNumberLimit = 1e300;

void readMaps(const Reader& in, ViewOptions& o) {
  for (const char* name : {"numbers", "words"}) {
    const Json* value = in.find(name);
    if (value == nullptr) continue;
    if (!value->is_object() || value->size() > kOptionLimit) in.fail(name, "is not an object of at most 256 entries");
    for (const auto& [key, entry] : value->items()) {
      const std::string field = std::string(name) + "." + key;
      if (name[0] == 'n')
        o.numbers[key] = in.numberIn(entry, field, -kNumberLimit, kNumberLimit);
      else if (entry.is_string())
        o.words[key] = entry.get<std::string>();
      else
        in.fail(field, "is not a text");
    }
  }
}

ViewOptions readOptions(const Reader& in) {
  ViewOptions o;
  const std::string scale = in.text("scale", "square_root");
  if (scale == "linear")
    o.scale = ColorScale::Linear;
  else if (scale == "log")
    o.scale = ColorScale::Log;
  else if (scale != "square_root")
    in.fail("scale", "is none of linear, square_root, log");
  o.hideFirst = in.flag("hide_first", o.hideFirst);
  if (const Json* limits = in.list("limits", 2)) {
    if (limits->size() != 2) in.fail("limits", "has not two entries");
    o.limits = {in.numberIn((*limits)[0], "limits", -kNumberLimit, kNumberLimit),
                in.numberIn((*limits)[1], "limits", -kNumberLimit, kNumberLimit)};
    if (o.limits->first >= o.limits->second) in.fail("limits", "has its lower end above its upper end");
  }
  if (const Json* visible = in.list("visible", 4)) {
    if (visible->size() != 4) in.fail("visible", "has not four entries");
    double* const fields[] = {&o.firstRow, &o.rows, &o.firstCol, &o.cols};
    for (size_t i = 0; i < 4; ++i) *fields[i] = in.numberIn((*visible)[i], "visible", 0, 1e12);
  }
  o.threshold = in.number("threshold", o.threshold, -kNumberLimit, kNumberLimit);
  o.sortBy = in.text("sort_by");
  readMaps(in, o);
  return o;
}

Selection readSelection(const Reader& in) {
  Selection s;
  s.layer = in.integer("layer", 0, 0, kIndexLimit), s.head = in.integer("head", 0, 0, kIndexLimit);
  s.query = in.integer("query", -1, -1, kIndexLimit), s.key = in.integer("key", -1, -1, kIndexLimit);
  if (const Json* brushed = in.list("brushed", kBrushLimit)) {
    for (const Json& head : *brushed) {
      if (!head.is_array() || head.size() != 2) in.fail("brushed", "has an entry that is not [layer, head]");
      s.brushed.push_back({in.integerIn(head[0], "brushed", 0, kIndexLimit), in.integerIn(head[1], "brushed", 0, kIndexLimit)});
    }
  }
  return s;
}

Json parseBounded(std::string_view text, const std::string& where) {
  if (text.size() > kTextLimit)
    throw Error("the session has " + std::to_string(text.size()) + " bytes, more than the 32 MB allowed", where);
  bool isTooDeep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDepthLimit) isTooDeep = true;
    return !isTooDeep;
  };
  try {
    Json json = Json::parse(text, watch);
    if (isTooDeep) throw Error("the session is nested deeper than " + std::to_string(kDepthLimit) + " levels", where);
    return json;
  } catch (const Json::parse_error& e) {
    throw Error("the session is not valid JSON at byte " + std::to_string(e.byte), where);
  } catch (const Json::exception&) {
    throw Error("the session is not valid JSON", where);
  }
}

}  // namespace

std::string toJson(const Session& s) {
  Json json{{"format", "headscope-session"}, {"version", s.version}, {"model", s.model}, {"model_hash", s.modelHash}};
  if (!s.adapter.empty()) json["adapter"] = s.adapter, json["adapter_hash"] = s.adapterHash, json["strength"] = s.strength;
  if (s.ids.empty())
    json["prompt"] = s.prompt;
  else
    json["ids"] = s.ids;
  if (!s.typeIds.empty()) json["type_ids"] = s.typeIds;
  if (!s.pair.empty()) json["pair"] = s.pair;
  if (!s.image.empty()) json["image"] = s.image, json["image_hash"] = s.imageHash;
  if (!s.mechanism.empty()) json["mechanism"] = s.mechanism;
  if (!s.replacedHeads.empty()) json["replaced_heads"] = s.replacedHeads;
  json["panes"] = Json::array();
  for (const PaneState& pane : s.panes) json["panes"].push_back(Json{{"view", pane.view}, {"options", optionsJson(pane.options)}});
  Json selection{{"layer", s.selection.layer}, {"head", s.selection.head}};
  if (s.selection.query >= 0) selection["query"] = s.selection.query;
  if (s.selection.key >= 0) selection["key"] = s.selection.key;
  for (const HeadRef& head : s.selection.brushed) selection["brushed"].push_back(headJson(head));
  json["selection"] = std::move(selection);
  json["theme"] = s.theme;
  json["figure"] = {{"width_mm", s.figure.width_mm}, {"font_pt", s.figure.font_pt}, {"letters", s.figure.hasLetters}};
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Session parseSession(std::string_view text, const std::string& where) {
  const Json json = parseBounded(text, where);
  const Reader in(json, where, "");
  Session s;
  s.version = static_cast<int>(in.integer("version", 1, 0, 1'000'000));
  if (s.version != 1)
    throw Error("the session has version " + std::to_string(s.version) + ", this program reads version 1", where,
                "open it with a newer Headscope");
  s.model = in.text("model"), s.modelHash = in.text("model_hash");
  s.adapter = in.text("adapter"), s.adapterHash = in.text("adapter_hash");
  s.strength = in.number("strength", 1.0, 0, 1e6);
  s.prompt = in.text("prompt"), s.pair = in.text("pair");
  s.image = in.text("image"), s.imageHash = in.text("image_hash");
  s.mechanism = in.text("mechanism"), s.replacedHeads = in.text("replaced_heads");
  for (const auto& [name, list] : {std::pair{"ids", &s.ids}, std::pair{"type_ids", &s.typeIds}}) {
    if (const Json* ids = in.list(name, kIdLimit)) {
      for (const Json& id : *ids) list->push_back(static_cast<int32_t>(in.integerIn(id, name, 0, INT32_MAX)));
    }
  }
  if (const Json* panes = in.list("panes", kPaneLimit)) {
    for (size_t i = 0; i < panes->size(); ++i) {
      const Reader pane((*panes)[i], where, "panes[" + std::to_string(i) + "]");
      PaneState state;
      state.view = pane.text("view");
      if (pane.find("options") != nullptr) state.options = readOptions(pane.object("options"));
      s.panes.push_back(std::move(state));
    }
  }
  if (in.find("selection") != nullptr) s.selection = readSelection(in.object("selection"));
  s.theme = in.text("theme", "light");
  if (s.theme != "light" && s.theme != "dark") in.fail("theme", "is neither light nor dark");
  if (in.find("figure") != nullptr) {
    const Reader figure = in.object("figure");
    s.figure.width_mm = figure.number("width_mm", 86, 10, 2000);
    s.figure.font_pt = figure.number("font_pt", 7, 2, 72);
    s.figure.hasLetters = figure.flag("letters", false);
  }
  return s;
}

}  // namespace headscope::core
