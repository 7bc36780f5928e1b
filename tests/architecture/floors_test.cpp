// The floors: app -> views -> core <- gpu, proved from the include lines. Includes are written from the repository root.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/support/folders.h"

namespace fs = std::filesystem;

namespace {

struct Include {
  std::string file, floor, target;
  bool isSystem;
};

std::vector<Include> includesOf(const std::string& floor) {
  static const std::regex pattern(R"re(^\s*#\s*include\s*(["<])([^">]+)[">])re");
  std::vector<Include> found;
  const fs::path root = headscope::tests::sourceFolder();
  for (const auto& entry : fs::recursive_directory_iterator(root / floor)) {
    const std::string extension = entry.path().extension();
    if (!std::set<std::string>{".h", ".hpp", ".cpp", ".cu", ".cuh"}.count(extension)) continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      std::smatch match;
      if (std::regex_search(line, match, pattern)) {
        found.push_back({fs::relative(entry.path(), root).string(), floor, match[2], match[1] == "<"});
      }
    }
  }
  return found;
}

bool startsWith(const std::string& s, const std::string& prefix) { return s.rfind(prefix, 0) == 0; }

void expectOnly(const std::string& floor, const std::set<std::string>& below) {
  for (const Include& include : includesOf(floor)) {
    if (include.isSystem) continue;
    const std::string top = include.target.substr(0, include.target.find('/'));
    EXPECT_TRUE(below.count(top)) << include.file << " includes \"" << include.target << "\"";
  }
}

void expectNoSystem(const std::string& floor, const std::regex& forbidden, const std::regex& exempt = std::regex("^$")) {
  for (const Include& include : includesOf(floor)) {
    if (!include.isSystem || std::regex_search(include.file, exempt)) continue;
    EXPECT_FALSE(std::regex_search(include.target, forbidden)) << include.file << " includes <" << include.target << ">";
  }
}

}  // namespace

TEST(Floors, coreKnowsNothingAbove) {
  expectOnly("core", {"core"});
  expectNoSystem("core", std::regex(R"(^(Q[A-Z]|Qt|imgui|GL/|cuda|cublas|cusolver))"));
}

TEST(Floors, gpuKnowsCoreAndCudaOnly) {
  expectOnly("gpu", {"core", "gpu"});
  expectNoSystem("gpu", std::regex(R"(^(Q[A-Z]|Qt|imgui|GL/))"));
}

TEST(Floors, viewsKnowCoreAndDrawWithImGuiOnlyInPanelsAndItsSink) {
  expectOnly("views", {"core", "views"});
  expectNoSystem("views", std::regex(R"(^(Q[A-Z]|Qt|GL/|cuda|cublas|cusolver))"));
  expectNoSystem("views", std::regex(R"(^imgui)"), std::regex(R"(^views/(panels/|figure/imgui_sink))"));
}

TEST(Floors, appKnowsAllButCuda) {
  expectOnly("app", {"core", "views", "app"});
  expectNoSystem("app", std::regex(R"(^(cuda|cublas|cusolver))"));
}

TEST(Floors, oneFileKnowsBothQtAndImGui) {
  std::map<std::string, int> seen;  // bit 0: Qt, bit 1: ImGui
  for (const Include& include : includesOf("app")) {
    if (std::regex_search(include.target, std::regex("^(Q[A-Z]|Qt)"))) seen[include.file] |= 1;
    if (startsWith(include.target, "imgui")) seen[include.file] |= 2;
  }
  std::set<std::string> both;
  for (const auto& [file, bits] : seen) {
    if (bits == 3) both.insert(fs::path(file).replace_extension().string());
  }
  EXPECT_LE(both.size(), 1u) << "more than one class includes Qt and ImGui";
}
