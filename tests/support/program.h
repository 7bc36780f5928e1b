#pragma once
// Runs the built program as a user would, and says how it ended.
#include <filesystem>
#include <string>
#include <vector>

namespace headscope::tests {

struct ProgramResult {
  int exitCode = -1;
  std::string output, errors;  // standard output and standard error
};

/// Runs build/headscope, or a copy of it elsewhere, with these arguments, without a shell; no display is needed.
ProgramResult runProgram(const std::vector<std::string>& arguments, const std::string& copy = {});

/// The whole file; "" when it can't be read.
std::string contents(const std::filesystem::path& path);

/// A new empty folder that goes with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace headscope::tests
