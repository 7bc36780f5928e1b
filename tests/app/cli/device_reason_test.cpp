// Beside the program lies a plug-in that can't be used, or a made-up card that fails: `info`, `bench` and a run say why the CPU computes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/support/folders.h"
#include "tests/support/program.h"

namespace fs = std::filesystem;

namespace headscope::tests {
namespace {

/// The program in a folder of its own with one of the made-up plug-ins as its CUDA plug-in ("": none).
class Beside {
 public:
  explicit Beside(const std::string& plugin) : program_(folder_ / "headscope") {
    fs::copy_file(buildFolder() / "headscope", program_);
    if (!plugin.empty()) fs::copy_file(buildFolder() / "made_up" / ("made_up_" + plugin + ".so"), folder_ / "headscope_cuda.so");
    ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
  }
  ~Beside() { ::unsetenv("XDG_CACHE_HOME"), ::unsetenv("HEADSCOPE_TEST_REASON"), ::unsetenv("HEADSCOPE_TEST_FAULT"); }
  ProgramResult run(const std::vector<std::string>& arguments) const { return runProgram(arguments, program_); }
  std::string operator/(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
  std::string program_;
};

nlohmann::json infoOf(const Beside& program) {
  const ProgramResult got = program.run({"info", "tales", "--json"});
  EXPECT_EQ(got.exitCode, 0) << got.errors;
  return nlohmann::json::parse(got.output, nullptr, false);
}

void expectReason(const Beside& program, const std::string& reason) {
  const nlohmann::json info = infoOf(program);
  EXPECT_EQ(info.value("backend", ""), "cpu");
  EXPECT_EQ(info.value("backend_reason", ""), reason);
  const ProgramResult text = program.run({"info", "tales"}), asked = program.run({"info", "tales", "--device", "cuda"});
  EXPECT_NE(text.output.find("(" + reason + ")"), std::string::npos) << text.output;
  EXPECT_EQ(asked.exitCode, 1);
  EXPECT_NE(asked.errors.find("no CUDA device can be had: " + reason), std::string::npos) << asked.errors;
  EXPECT_EQ(infoOf(program).value("backend_reason", "none"), reason) << "the same again";
}

}  // namespace

TEST(DeviceReason, noPlugin) { expectReason(Beside(""), "built without the CUDA plug-in"); }

TEST(DeviceReason, everyReasonOfThePlugin) {
  const Beside program("reason");
  for (const char* reason : {"no CUDA driver found", "the CUDA driver is for 11.8, 12.4 or newer is needed", "no CUDA device found",
                             "taking pinned memory failed: out of memory"}) {
    ::setenv("HEADSCOPE_TEST_REASON", reason, 1);
    expectReason(program, reason);
  }
}

TEST(DeviceReason, anotherVersion) {
  const nlohmann::json info = infoOf(Beside("other_version"));
  EXPECT_EQ(info.value("backend", ""), "cpu");
  EXPECT_EQ(info.value("backend_reason", "").find("the CUDA plug-in is of another version (headscope-backend-0, not "), 0U) << info;
}

TEST(DeviceReason, noPluginAtAll) { expectReason(Beside("no_functions"), "headscope_cuda.so is not a plug-in of this program"); }

TEST(DeviceReason, benchesSayIt) {
  const Beside program("reason");
  ::setenv("HEADSCOPE_TEST_REASON", "no CUDA device found", 1);
  const ProgramResult got = program.run({"bench", "mask_repaint", "--quiet"});
  EXPECT_EQ(got.exitCode, 0) << got.errors;
  const nlohmann::json line = nlohmann::json::parse(got.output.substr(0, got.output.find('\n')), nullptr, false);
  EXPECT_EQ(line.value("backend", ""), "cpu") << got.output;
  EXPECT_EQ(line.value("backend_reason", ""), "no CUDA device found") << got.output;
}

TEST(DeviceReason, aCardThatWorksIsTaken) {
  const Beside program("card");
  const nlohmann::json info = infoOf(program);
  EXPECT_EQ(info.value("backend", ""), "cuda");
  EXPECT_EQ(info.value("backend_device", ""), "fake card");
  EXPECT_EQ(info.value("backend_reason", "none"), "");
}

TEST(DeviceReason, aCardThatFailsInAPassGivesTheSameNumbers) {
  const Beside program("card");
  const auto scores = [&](const char* device, const char* name) {
    const ProgramResult got =
        program.run({"heads", "tales", "--prompt", "The cat sat on the mat", "--device", device, "--out", program / name});
    EXPECT_EQ(got.exitCode, 0) << got.errors;
    return contents(program / name);
  };
  const std::string expected = scores("cpu", "cpu.csv");
  EXPECT_GT(expected.size(), 100U);
  EXPECT_EQ(scores("cuda", "whole.csv"), expected);
  for (const char* fault : {"memory", "lost"}) {
    ::setenv("HEADSCOPE_TEST_FAULT", fault, 1);
    EXPECT_EQ(scores("cuda", (std::string(fault) + ".csv").c_str()), expected) << fault;
  }
}

}  // namespace headscope::tests
