#pragma once
// Runs the built program as a user would, and says how it ended.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace headscope::tests {

struct ProgramResult {
  int exitCode = -1;
  std::string output, errors;  // standard output and standard error
};

/// Runs build/headscope, or a copy of it elsewhere, with these arguments, without a shell; no display is needed.
ProgramResult runProgram(const std::vector<std::string>& arguments, const std::string& copy = {});

/// The whole file; "" when it can't be read.
std::string contents(const std::filesystem::path& path);

}  // namespace headscope::tests
