#pragma once
// Where the reference data lies, and a skip that says so when it is not there.
#include <gtest/gtest.h>

#include <filesystem>

namespace headscope::tests {

/// shared/golden, from the environment variable HEADSCOPE_GOLDEN or the place beside the project.
std::filesystem::path goldenFolder();
bool hasGolden();

}  // namespace headscope::tests

#define HEADSCOPE_REQUIRE_GOLDEN()                                                                               \
  if (!headscope::tests::hasGolden()) {                                                                          \
    GTEST_SKIP() << "reference data is not at " << headscope::tests::goldenFolder() << "; set HEADSCOPE_GOLDEN"; \
  }
