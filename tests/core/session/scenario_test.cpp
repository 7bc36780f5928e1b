// Scenarios: steps change the session that the step before left, and what is wrong is named with its step.
#include "core/session/scenario.h"

#include <gtest/gtest.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "tests/support/folders.h"

namespace headscope::core {
namespace {

std::string faultOf(const std::string& json) {
  try {
    parseScenario(json, "x.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Scenario, stepsChangeWhatTheStepBeforeLeft) {
  const Scenario s = parseScenario(R"({"title": "T", "session": {"model": "tales", "prompt": "a", "panes": [{"view": "mask"}]},
      "steps": [{"say": "one"},
                {"say": "two", "change": {"prompt": "b", "selection": {"layer": 2, "head": 1}, "adapter": "x"}},
                {"change": {"selection": {"head": 3}, "adapter": null, "panes": []}}]})",
                                   "x.json");
  ASSERT_EQ(s.steps.size(), 3u);
  EXPECT_EQ(s.title, "T");
  EXPECT_EQ(s.steps[0].say, "one");
  EXPECT_EQ(s.steps[0].session.prompt, "a");
  EXPECT_EQ(s.steps[1].session.prompt, "b");
  EXPECT_EQ(s.steps[1].session.adapter, "x");
  EXPECT_EQ(s.steps[1].session.panes.at(0).view, "mask");
  EXPECT_EQ(s.steps[2].say, "");
  EXPECT_EQ(s.steps[2].session.adapter, "");
  EXPECT_EQ(s.steps[2].session.selection.layer, 2);
  EXPECT_EQ(s.steps[2].session.selection.head, 3);
  EXPECT_TRUE(s.steps[2].session.panes.empty());
}

TEST(Scenario, whatIsWrongIsNamedWithItsStep) {
  EXPECT_NE(faultOf("[]").find("not an object"), std::string::npos);
  EXPECT_NE(faultOf("{").find("x.json"), std::string::npos);
  EXPECT_NE(faultOf(R"({"steps": []})").find("at least one step"), std::string::npos);
  EXPECT_NE(faultOf(R"({"version": 2, "steps": [{}]})").find("version 2"), std::string::npos);
  EXPECT_NE(faultOf(R"({"session": 3, "steps": [{}]})").find("step 1"), std::string::npos);
  EXPECT_NE(faultOf(R"({"steps": [{}, 4]})").find("step 2"), std::string::npos);
  EXPECT_NE(faultOf(R"({"steps": [{}, {"say": 4}]})").find("step 2"), std::string::npos);
  EXPECT_NE(faultOf(R"({"steps": [{"change": []}]})").find("change"), std::string::npos);
  const std::string fault = faultOf(R"({"steps": [{"change": {"strength": "much"}}]})");
  EXPECT_NE(fault.find("strength"), std::string::npos) << fault;
  std::string many = R"({"steps": [{})";
  for (size_t i = 0; i < Scenario::kMostSteps; ++i) many += ",{}";
  EXPECT_NE(faultOf(many + "]}").find("1001 steps"), std::string::npos);
}

TEST(Scenario, theBundledLessonIsWhole) {
  const auto file = tests::sourceFolder() / "assets/lessons/first_look.json";
  const Scenario s = parseScenario(readTextFile(file, 1 << 20), file.string());
  for (const ScenarioStep& step : s.steps) {
    EXPECT_FALSE(step.say.empty());
    EXPECT_EQ(step.session.model, "tales");
    EXPECT_EQ(step.session.panes.size(), 1u);
  }
}

}  // namespace
}  // namespace headscope::core
