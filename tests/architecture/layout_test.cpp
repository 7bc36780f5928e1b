// The house's shape: top level fixed by the owner, one noun a file, nothing outside gpu/ speaks CUDA, no absolute paths.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/folders.h"

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = headscope::tests::sourceFolder();

std::vector<fs::path> sourcesBelow(const std::vector<std::string>& folders) {
  std::vector<fs::path> found;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      const std::string extension = entry.path().extension();
      if (std::set<std::string>{".h", ".cpp", ".cu", ".cuh"}.count(extension)) found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string textOf(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TEST(Layout, topLevelIsFixed) {
  const std::set<std::string> allowed = {
      "app",     "assets",    "build", "core", "docs", "gpu", "tests", "views", "CHANGELOG.md", "CMakeLists.txt", "CMakePresets.json",
      "LICENSE", "README.md", "dev"};
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    const std::string name = entry.path().filename();
    if (name.front() == '.') continue;
    EXPECT_TRUE(allowed.count(name)) << name << " is not part of the fixed top level";
  }
}

TEST(Layout, filesStayRooms) {
  for (const fs::path& file : sourcesBelow({"core", "gpu", "views", "app"})) {
    const std::string text = textOf(file);
    const auto lines = std::count(text.begin(), text.end(), '\n');
    EXPECT_LE(lines, 600) << fs::relative(file, kRoot) << " has " << lines << " lines: it wants to be several rooms";
  }
}

TEST(Layout, headersAreGuardedAndOpenWithWhatTheyAre) {
  for (const fs::path& file : sourcesBelow({"core", "views", "app"})) {
    if (file.extension() != ".h") continue;
    const std::string text = textOf(file);
    EXPECT_EQ(text.rfind("#pragma once\n//", 0), 0u) << fs::relative(file, kRoot) << " does not open with a guard and what it is";
  }
}

TEST(Layout, onlyGpuCallsCuda) {
  for (const fs::path& file : sourcesBelow({"core", "views", "app"})) {
    const std::string text = textOf(file);
    for (const char* word : {"cudaMalloc", "cudaStream", "cublas", "cusolver", "__global__"}) {
      EXPECT_EQ(text.find(word), std::string::npos) << fs::relative(file, kRoot) << " says " << word;
    }
  }
}

TEST(Layout, noAbsolutePathsOfAMachine) {
  for (const fs::path& file : sourcesBelow({"core", "gpu", "views", "app"})) {
    const std::string text = textOf(file);
    for (const char* word : {"/work/", "/home/", "/root/"}) {
      EXPECT_EQ(text.find(word), std::string::npos) << fs::relative(file, kRoot) << " says " << word;
    }
  }
}
