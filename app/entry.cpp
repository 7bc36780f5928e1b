#include "app/entry.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "app/cli/command.h"
#include "app/display.h"
#include "app/first_session.h"
#include "app/window/main_window.h"
#include "core/base/error.h"
#include "core/base/parallel.h"

namespace headscope::app {
namespace {

constexpr const char* kFirstFigures = "headscope-first-session";  // in the folder that the program was started from

/// Declares what the window takes; a subcommand's name is never a model.
void declareWindow(CLI::App& root, StartOptions& start, CommonFlags& flags) {
  root.require_subcommand(0, 1);
  root.add_option("model", start.model, "model folder, or the bundled one (tales)");
  root.add_option("--prompt", start.prompt, "text to start with");
  root.add_option("--pair", start.pair, "text of a second segment (BERT)");
  root.add_option("--image", flags.image, "PNG or JPEG that a vision model reads");
  root.add_option("--session", start.session, "session, or a figure that carries one");
  root.add_option("--times", start.timesFile, "zoom and pan once, write what each step took as JSON, and close (for bench window)");
  root.add_option("--device", flags.device, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}))->capture_default_str();
  root.add_option("--precision", flags.precision, "products on a CUDA device: float32, or tf32 or bf16, less exact")
      ->check(CLI::IsMember({"float32", "tf32", "bf16"}))
      ->capture_default_str();
  root.add_option("--adapter", flags.adapter, "PEFT adapter folder");
  root.add_option("--strength", flags.strength, "adapter strength, 0 to 1.5")->check(CLI::Range(0.0, 1.5))->capture_default_str();
  root.add_option("--threads", flags.threads, "threads, 0: all cores")->check(CLI::Range(0, 1024))->capture_default_str();
}

}  // namespace

int runHeadscope(int argc, char** argv) {
  CLI::App root{"Headscope: a microscope for attention. Without a command it opens the window"};
  root.set_version_flag("--version", HEADSCOPE_VERSION);
  CommonFlags flags;
  StartOptions start;
  declareWindow(root, start, flags);
  root.parse_complete_callback([&] { core::setThreadCount(flags.threads); });
  for (const DeclareCommand declare : allCommands()) declare(root, flags);
  try {
    root.parse(argc, argv);
    if (!root.get_subcommands().empty()) return 0;
    start.hasModel = root.count("model") > 0, start.hasPrompt = root.count("--prompt") > 0;
    if (!start.hasPrompt) start.prompt = firstPrompt();
    start.image = flags.image;
    start.adapter = flags.adapter, start.device = flags.device, start.precision = flags.precision, start.strength = flags.strength;
    if (isDisplayThere()) return runWindow(argc, argv, start);
    if (start.hasModel || start.hasPrompt || !start.session.empty())
      throw core::Error("there is no display for the window", "", "use a command, headscope render for one; headscope --help lists them");
    runFirstSessionWithoutDisplay(kFirstFigures);
    return 0;
  } catch (const CLI::ParseError& e) {
    return root.exit(e) == 0 ? 0 : 2;
  } catch (const core::Cancelled&) {
    std::fprintf(stderr, "headscope: cancelled\n");
    return 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "headscope: %s\n", e.what());
    return 1;
  }
}

}  // namespace headscope::app
