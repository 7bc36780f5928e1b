#pragma once
// Scenarios out of files, or among the bundled lessons by name.
#include <filesystem>
#include <optional>
#include <string>

#include "core/session/scenario.h"

namespace headscope::app {

/// SCENARIO of the command line: a file, or the name of a bundled lesson ("first_look"). Throws core::Error when neither.
std::filesystem::path resolveScenario(const std::string& name);
/// Throws core::Error naming the file, the step and the field.
core::Scenario readScenario(const std::filesystem::path& file);
/// Whether a file says of itself that it is a scenario ("headscope-scenario" in its first 4 KB); false when it can't be read.
bool isScenarioFile(const std::filesystem::path& file);

}  // namespace headscope::app
