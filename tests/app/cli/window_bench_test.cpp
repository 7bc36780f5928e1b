// headscope bench window where there is nothing to open a window on. With a display it takes a minute: ./dev bench window.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/support/folders.h"
#include "tests/support/program.h"

namespace headscope::app {

TEST(WindowBench, withoutADisplayItSaysSo) {
  const tests::TemporaryFolder folder;
  const std::string command = "env -u DISPLAY -u WAYLAND_DISPLAY -u QT_QPA_PLATFORM '" + (tests::buildFolder() / "headscope").string() +
                              "' bench window --quiet >'" + (folder / "out.jsonl").string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const auto line = nlohmann::json::parse(tests::contents(folder / "out.jsonl"));
  EXPECT_EQ(line.at("bench"), "window");
  EXPECT_NE(line.at("note").get<std::string>().find("no display"), std::string::npos);
  EXPECT_FALSE(line.contains("ours_s"));
}

}  // namespace headscope::app
