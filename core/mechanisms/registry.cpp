#include "core/mechanisms/registry.h"

#include "core/base/error.h"
#include "core/mechanisms/kinds.h"

namespace headscope::core {
namespace {

std::vector<MechanismKind> makeAll() {
  std::vector<MechanismKind> all;
  const auto addAll = [&](std::vector<MechanismKind> kinds) {
    for (MechanismKind& k : kinds) all.push_back(std::move(k));
  };
  addAll(maskKinds());
  addAll(selectionKinds());
  all.push_back(clusteredKind());
  all.push_back(linearKind());
  all.push_back(rfaKind());
  all.push_back(performerKind());
  all.push_back(linformerKind());
  all.push_back(nystromKind());
  all.push_back(denseAttentionKind());
  all.push_back(sharedKvKind());
  all.push_back(reuseKind());
  addAll(positionKinds());
  all.push_back(copeKind());
  all.push_back(offKind());
  return all;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n\r") - first + 1);
}

std::map<std::string, std::string> parseArguments(const std::string& mechanism, std::string_view text) {
  std::map<std::string, std::string> given;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = trimmed(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      throw Error("\"" + std::string(part) + "\" is not key=value", "mechanism " + mechanism, "write NAME:key=value,key=value");
    }
    const std::string key(trimmed(part.substr(0, equals)));
    if (!given.emplace(key, trimmed(part.substr(equals + 1))).second) throw Error(key + " is given twice", "mechanism " + mechanism);
  }
  return given;
}

}  // namespace

const std::vector<MechanismKind>& allMechanisms() {
  static const auto* all = new std::vector<MechanismKind>(makeAll());  // never destroyed: jobs may still read it at exit
  return *all;
}

const MechanismKind* findMechanism(std::string_view name) {
  for (const MechanismKind& kind : allMechanisms()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

std::shared_ptr<const Mechanism> parseMechanism(std::string_view text) {
  text = trimmed(text);
  const size_t colon = text.find(':');
  const std::string name(trimmed(text.substr(0, colon)));
  const MechanismKind* kind = findMechanism(name);
  if (kind == nullptr) {
    std::string known;
    for (const MechanismKind& k : allMechanisms()) known += (known.empty() ? "" : ", ") + k.name;
    throw Error("unknown mechanism \"" + name + "\"", "", "known: " + known);
  }
  return kind->make(
      Arguments(name, kind->parameters,
                colon == std::string_view::npos ? std::map<std::string, std::string>{} : parseArguments(name, text.substr(colon + 1))));
}

std::vector<std::shared_ptr<const Mechanism>> parseMechanisms(std::string_view text) {
  std::vector<std::shared_ptr<const Mechanism>> out;
  while (!text.empty()) {
    const size_t end = text.find(';');
    const std::string_view part = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (!part.empty()) out.push_back(parseMechanism(part));
  }
  if (out.empty()) throw Error("no mechanism is named", "", "write NAME:key=value,key=value, several separated by ;");
  return out;
}

}  // namespace headscope::core
