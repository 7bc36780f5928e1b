#include <CLI/CLI.hpp>

#include "app/cli/command.h"

namespace headscope::app {

// One line a command: void declareNAME(CLI::App&, CommonFlags&), defined in app/cli/NAME.cpp.
void declareBench(CLI::App& root, CommonFlags& common);
void declareAttend(CLI::App& root, CommonFlags& common);
void declareBudget(CLI::App& root, CommonFlags& common);
void declareCache(CLI::App& root, CommonFlags& common);
void declareComplexity(CLI::App& root, CommonFlags& common);
void declareHeads(CLI::App& root, CommonFlags& common);
void declareInfo(CLI::App& root, CommonFlags& common);
void declarePlay(CLI::App& root, CommonFlags& common);
void declareRender(CLI::App& root, CommonFlags& common);
void declareSpectra(CLI::App& root, CommonFlags& common);
void declareCompose(CLI::App& root, CommonFlags& common);
void declareLora(CLI::App& root, CommonFlags& common);
void declareSubspace(CLI::App& root, CommonFlags& common);
void declareWords(CLI::App& root, CommonFlags& common);
void declareNorms(CLI::App& root, CommonFlags& common);
void declareTokenize(CLI::App& root, CommonFlags& common);
void declareVariants(CLI::App& root, CommonFlags& common);

const std::vector<DeclareCommand>& allCommands() {
  static const std::vector<DeclareCommand> commands = {
      declareInfo,    declareTokenize,   declareAttend,   declareHeads, declareVariants, declareBudget,
      declareCache,   declareComplexity, declareRender,   declarePlay,  declareBench,    declareSpectra,
      declareCompose, declareLora,       declareSubspace, declareWords, declareNorms,
  };
  return commands;
}

void addCommonFlags(CLI::App& command, CommonFlags& flags) {
  command.add_option("--device", flags.device, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}))->capture_default_str();
  command.add_option("--precision", flags.precision, "products on a CUDA device: float32, or tf32 or bf16, less exact")
      ->check(CLI::IsMember({"float32", "tf32", "bf16"}))
      ->capture_default_str();
  command.add_option("--adapter", flags.adapter, "PEFT adapter folder");
  command.add_option("--strength", flags.strength, "adapter strength, 0 to 1.5")->check(CLI::Range(0.0, 1.5))->capture_default_str();
  command.add_option("--image", flags.image, "image for a vision model, PNG or JPEG");
  command.add_option("--threads", flags.threads, "threads, 0: all cores")->check(CLI::Range(0, 1024))->capture_default_str();
  command.add_flag("--quiet", flags.isQuiet, "no progress on the terminal");
}

}  // namespace headscope::app
