#include "core/model/model_spec.h"

#include <nlohmann/json.hpp>

#include "core/base/printable.h"
#include "core/model/families/family.h"

namespace headscope::core {
namespace {

using nlohmann::json;

/// The part of a config that speaks of the language model: itself, or its text_config where the model has more parts.
const json& textPart(const json& config, const std::string& where) {
  const auto nested = config.find("text_config");
  if (nested == config.end() || !nested->is_object()) return config;
  const ConfigReader outer(config, where), inner(*nested, where + ", text_config");
  const bool isOuterKnown = findFamily(outer.text("model_type", "")) != nullptr;
  const bool isOuterWhole = outer.has("hidden_size") || outer.has("n_embd");
  return isOuterKnown && isOuterWhole ? config : *nested;
}

}  // namespace

ModelSpec parseModelSpec(const std::string& text, const std::string& where) {
  const json whole = parseJsonBounded(text, where);
  if (!whole.is_object()) throw Error("not a JSON object", where);
  const json& part = textPart(whole, where);
  const bool isNested = &part != &whole;
  const ConfigReader outer(whole, where);
  const ConfigReader config(part, isNested ? where + ", text_config" : where, isNested ? &whole : nullptr);
  const std::string outerType = outer.text("model_type", "");
  const std::string type = config.text("model_type", outerType);
  if (type.empty()) throw config.fault("model_type", "is missing", "it names the family; known are " + knownFamilies());
  const Family* family = findFamily(type);
  if (family == nullptr) {
    throw config.fault("model_type", "\"" + printable(type, 60) + "\" is not a family known here", "known are " + knownFamilies());
  }
  ModelSpec spec = family->spec(config);
  spec.family = type;
  spec.familyTitle = family->title;
  spec.architectures = outer.texts("architectures");
  if (isNested && outerType != type && !outerType.empty()) {
    spec.notes.push_back("only the text part of this " + printable(outerType, 60) + " model is shown");
  }
  return spec;
}

}  // namespace headscope::core
