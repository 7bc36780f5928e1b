#pragma once
// Command: one subcommand of the command line: one file and one line in command_registry.cpp.
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace headscope::app {

/// Flags that every command takes where they make sense.
struct CommonFlags {
  std::string device = "auto";        // auto, cpu, cuda
  std::string precision = "float32";  // of a CUDA device's products: float32, tf32, bf16
  std::string adapter;                // PEFT folder or ""
  double strength = 1.0;
  std::string image;
  int threads = 0;  // 0: all cores
  bool isQuiet = false;
};

/// Declares the subcommand on `root`; the callback runs it and throws core::Error on failure. `flags` outlives the parse.
using DeclareCommand = void (*)(CLI::App& root, CommonFlags& flags);

const std::vector<DeclareCommand>& allCommands();

/// Adds the common flags to a subcommand.
void addCommonFlags(CLI::App& command, CommonFlags& flags);

}  // namespace headscope::app
