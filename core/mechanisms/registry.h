#pragma once
// The registry of mechanisms: every kind with its parameters, and the words that name one: "local:window=64", or several
// separated by ";". What `variants --list` and the window's menu show.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/mechanisms/mechanism_kind.h"

namespace headscope::core {

/// All kinds in menu order. Made once.
const std::vector<MechanismKind>& allMechanisms();
/// nullptr when unknown.
const MechanismKind* findMechanism(std::string_view name);

/// "NAME" or "NAME:key=value,key=value". Throws Error naming mechanism, parameter and allowed range.
std::shared_ptr<const Mechanism> parseMechanism(std::string_view text);
/// A ";"-separated list, in order; empty parts are left out. Throws Error when nothing is left.
std::vector<std::shared_ptr<const Mechanism>> parseMechanisms(std::string_view text);

}  // namespace headscope::core
