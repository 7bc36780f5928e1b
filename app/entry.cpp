#include "app/entry.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/cli/command.h"
#include "core/base/error.h"
#include "core/base/parallel.h"

namespace headscope::app {

int runHeadscope(int argc, char** argv) {
  CLI::App root{"Headscope: a microscope for attention"};
  root.set_version_flag("--version", HEADSCOPE_VERSION);
  CommonFlags flags;
  root.parse_complete_callback([&] { core::setThreadCount(flags.threads); });
  for (const DeclareCommand declare : allCommands()) declare(root, flags);
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return root.exit(e) == 0 ? 0 : 2;
  } catch (const core::Cancelled&) {
    std::fprintf(stderr, "headscope: cancelled\n");
    return 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "headscope: %s\n", e.what());
    return 1;
  }
  return 0;
}

}  // namespace headscope::app
