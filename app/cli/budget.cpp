// headscope budget: the cheapest mask for every head under a bound on output error or on the model's loss, as a JSON plan.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <ostream>

#include "app/cli/inputs.h"
#include "core/attention/forward.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/mechanisms/budget.h"
#include "core/mechanisms/registry.h"

namespace headscope::app {
namespace {

struct BudgetFlags {
  std::string model, mechanisms = core::kBudgetMechanisms, out;
  PromptFlags prompt;
  double bound = 0.02, boundLoss = -1;
};

void run(const BudgetFlags& flags, const CommonFlags& common) {
  const auto mechanisms = core::parseMechanisms(flags.mechanisms);
  const auto model = openModel(flags.model, common);
  const auto prompt = makePrompt(*model, flags.prompt, common);
  const auto backend = openBackend(common);
  runWithProgress("budget", common, [&](core::Job& job) {
    const auto trace = core::runForward(model, prompt, backend, {}, job);
    core::Budget budget = core::measureBudget(trace, mechanisms, job);
    if (flags.boundLoss >= 0) {
      if (!trace->hasLogits() || trace->spec().head != core::HeadKind::CausalLanguage || trace->count() < 2) {
        throw core::Error("this model has no next-token loss on this prompt", "--bound-loss", "use --bound");
      }
      core::chooseUnderLoss(budget, *trace, flags.boundLoss, job);
    } else {
      core::chooseUnder(budget, flags.bound);
      if (trace->hasLogits()) core::judge(budget, *trace, job);
    }
    const std::string json = core::toJson(budget, *trace);
    core::writeFileWhole(flags.out, [&](std::ostream& out) { out << json; });
    if (!common.isQuiet) {
      std::fprintf(stderr, "%zu of %zu heads replaced, %.1f%% of the attention operations left\n", budget.choices().size(),
                   budget.heads.size(), 100.0 * budget.operations() / budget.denseOperations());
    }
  });
}

}  // namespace

void declareBudget(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<BudgetFlags>();
  CLI::App* command = root.add_subcommand("budget", "the cheapest mask per head under a bound on error or loss");
  command->add_option("model", flags->model, "folder or bundled name")->required();
  CLI::Option* bound =
      command->add_option("--bound", flags->bound, "largest output error of a head")->check(CLI::Range(0.0, 1e6))->capture_default_str();
  command->add_option("--bound-loss", flags->boundLoss, "largest rise of the next-token loss in nats, instead")
      ->check(CLI::Range(0.0, 1e6))
      ->excludes(bound);
  command->add_option("--mechanisms", flags->mechanisms, "what to try, separated by ;")->capture_default_str();
  command->add_option("--out", flags->out, "FILE.json")->required();
  addPromptFlags(*command, flags->prompt);
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
