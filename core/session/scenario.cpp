#include "core/session/scenario.h"

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/model/config_reader.h"

namespace headscope::core {
namespace {

using Json = nlohmann::json;

constexpr size_t kTextLimit = 32u << 20;

std::string textOf(const Json& json, const char* name, const std::string& where) {
  const auto at = json.find(name);
  if (at == json.end() || at->is_null()) return {};
  if (!at->is_string()) throw Error(std::string("the scenario's \"") + name + "\" is not a text", where);
  return at->get<std::string>();
}

}  // namespace

Scenario parseScenario(std::string_view text, const std::string& where) {
  if (text.size() > kTextLimit)
    throw Error("the scenario has " + std::to_string(text.size()) + " bytes, more than the 32 MB allowed", where);
  const Json json = parseJsonBounded(std::string(text), where);
  if (!json.is_object()) throw Error("the scenario is not an object", where);
  const auto version = json.find("version");
  if (version != json.end() && *version != 1)
    throw Error("the scenario has version " + version->dump() + ", this program reads version 1", where);
  const auto steps = json.find("steps");
  if (steps == json.end() || !steps->is_array() || steps->empty())
    throw Error("the scenario has no list \"steps\" with at least one step", where);
  if (steps->size() > Scenario::kMostSteps) {
    throw Error(
        "the scenario has " + std::to_string(steps->size()) + " steps, more than the " + std::to_string(Scenario::kMostSteps) + " allowed",
        where);
  }
  Scenario scenario;
  scenario.title = textOf(json, "title", where);
  Json session = json.value("session", Json::object());
  for (size_t i = 0; i < steps->size(); ++i) {
    const Json& step = (*steps)[i];
    const std::string here = where + ", step " + std::to_string(i + 1);
    if (!step.is_object()) throw Error("a step of the scenario is not an object", here);
    const auto change = step.find("change");
    if (change != step.end()) {
      if (!change->is_object()) throw Error("the step's \"change\" is not an object", here);
      session.merge_patch(*change);
    }
    const std::string whole = session.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (whole.size() > kTextLimit) throw Error("the changes add up to more than the 32 MB that a session may have", here);
    scenario.steps.push_back({textOf(step, "say", here), parseSession(whole, here)});
  }
  return scenario;
}

}  // namespace headscope::core
