// headscope play: every step says its words and leaves pictures that are those of render.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "app/sinks/figure_session.h"
#include "tests/support/program.h"

namespace headscope::app {
namespace {
namespace fs = std::filesystem;

TEST(Play, TheBundledLessonLeavesAPictureAStep) {
  const tests::TemporaryFolder folder;
  const auto result = tests::runProgram({"play", "first_look", "--quiet", "--shots", folder / "shots"});
  ASSERT_EQ(result.exitCode, 0) << result.errors;
  for (int i = 1; i <= 6; ++i) {
    const std::string number = std::to_string(i);
    EXPECT_NE(result.output.find(number + "/6  "), std::string::npos) << result.output;
    EXPECT_GT(fs::file_size(folder / ("shots/" + number + ".png")), 5000u);
  }
  EXPECT_EQ(sessionFromFile(folder / "shots/3.png").selection.layer, 3);
}

TEST(Play, AStepsPictureIsThatOfRender) {
  const tests::TemporaryFolder folder;
  std::ofstream(folder / "s.json") << R"({"session": {"model": "tales", "prompt": "The cat sat."},
      "steps": [{"say": "two panes", "change": {"panes": [{"view": "attention_map"}, {"view": "token_flow"}]}}]})";
  const auto played = tests::runProgram({"play", folder / "s.json", "--quiet", "--shots", folder / "shots", "--format", "svg"});
  ASSERT_EQ(played.exitCode, 0) << played.errors;
  EXPECT_TRUE(fs::exists(folder / "shots/1_2.svg"));
  const auto rendered = tests::runProgram({"render", folder / "shots/1_1.svg", "-o", folder / "again.svg", "--quiet"});
  ASSERT_EQ(rendered.exitCode, 0) << rendered.errors;
  EXPECT_EQ(tests::contents(folder / "again.svg"), tests::contents(folder / "shots/1_1.svg"));
}

TEST(Play, WhatIsWrongIsSaidWithItsStep) {
  const tests::TemporaryFolder folder;
  const auto fault = [&](const std::string& steps) {
    std::ofstream(folder / "s.json") << R"({"session": {"model": "tales", "prompt": "The cat"}, "steps": )" << steps << "}";
    const auto result = tests::runProgram({"play", folder / "s.json", "--quiet", "--shots", folder / "shots"});
    EXPECT_EQ(result.exitCode, 1) << steps;
    return result.errors;
  };
  EXPECT_NE(fault(R"([{}, {"change": {"selection": {"layer": 4}}}])").find("step 2: head 4.0"), std::string::npos);
  EXPECT_NE(fault(R"([{"change": {"selection": {"query": 90}}}])").find("none at 90"), std::string::npos);
  EXPECT_NE(fault(R"([{"change": {"panes": [{"view": "nope"}]}}])").find("there is no view"), std::string::npos);
  EXPECT_NE(fault(R"([{"change": {"model": "nope"}}])").find("nope"), std::string::npos);
  const auto missing = tests::runProgram({"play", "no_such_lesson", "--quiet"});
  EXPECT_EQ(missing.exitCode, 1);
  EXPECT_NE(missing.errors.find("first_look"), std::string::npos);
}

}  // namespace
}  // namespace headscope::app
