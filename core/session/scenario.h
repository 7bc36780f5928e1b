#pragma once
// Scenario: a session and steps that change it, each with words to say: a lesson, a presentation, a series of figures. JSON:
//   {"format": "headscope-scenario", "version": 1, "title": T, "session": SESSION,
//    "steps": [{"say": TEXT, "change": PART OF A SESSION}, ...]}
// A change is a JSON merge patch (RFC 7396): fields that it names are replaced, null takes one away, lists are replaced whole.
// Hostile until checked: parseScenario names the step and the field.
#include <string>
#include <string_view>
#include <vector>

#include "core/session/session.h"

namespace headscope::core {

struct ScenarioStep {
  std::string say;
  Session session;  // what is shown at this step, whole
};

struct Scenario {
  static constexpr size_t kMostSteps = 1000;

  std::string title;
  std::vector<ScenarioStep> steps;  // at least one
};

/// Throws Error naming `where`, the step and the field. Limits: 32 MB of text, 32 levels, kMostSteps steps.
Scenario parseScenario(std::string_view json, const std::string& where);

}  // namespace headscope::core
