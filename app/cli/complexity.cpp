// headscope complexity: measured time, counted operations and held bytes of mechanisms against N.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/cli/inputs.h"
#include "app/cli/records.h"
#include "core/mechanisms/complexity.h"
#include "core/mechanisms/registry.h"

namespace headscope::app {
namespace {

struct ComplexityFlags {
  std::string mechanisms = core::kComplexityMechanisms, out;
  core::ComplexityOptions options;
  bool isJson = false, isCsv = false, isBothWays = false;
};

void run(const ComplexityFlags& flags, const CommonFlags& common) {
  checkRecordsPath(flags.out);
  const auto mechanisms = core::parseMechanisms(flags.mechanisms);
  core::ComplexityOptions options = flags.options;
  options.isCausal = !flags.isBothWays;
  std::vector<core::ComplexityPoint> points;
  runWithProgress("complexity", common, [&](core::Job& job) { points = core::measureComplexity(mechanisms, options, job); });
  Records records({"mechanism", "n", "width", "seconds", "operations", "bytes_moved", "bytes_held", "pairs", "time_growth", "held_growth",
                   "formula", "refused"});
  const size_t sizes = options.sizes.size();
  for (size_t i = 0; i < points.size(); ++i) {
    const core::ComplexityPoint& p = points[i];
    const std::span<const core::ComplexityPoint> mine(points.data() + i / sizes * sizes, sizes);
    const auto known = [&](double value) { return p.refusal.empty() ? nlohmann::json(value) : nlohmann::json(nullptr); };
    records.add({p.mechanism, p.size, options.width, known(p.seconds), known(p.cost.operations), known(p.cost.bytesMoved),
                 known(p.cost.bytesHeld), known(p.cost.pairs), core::growth(mine, false), core::growth(mine, true), p.cost.formula,
                 p.refusal});
  }
  records.write(flags.out, flags.isJson ? "json" : flags.isCsv ? "csv" : "");
}

}  // namespace

void declareComplexity(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<ComplexityFlags>();
  CLI::App* command = root.add_subcommand("complexity", "measured time and bytes of mechanisms against N");
  command->add_option("--sizes", flags->options.sizes, "token counts, as 512,1024,2048")->delimiter(',')->check(CLI::Range(1, 1 << 20));
  command->add_option("--mechanisms", flags->mechanisms, "NAME:key=value,key=value, several separated by ;")->capture_default_str();
  command->add_option("--width", flags->options.width, "head width")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_flag("--both-ways", flags->isBothWays, "an encoder's head: no causal mask");
  command->add_option("--out", flags->out, "FILE.csv, FILE.json or FILE.txt (default: text on standard output)");
  command->add_flag("--json", flags->isJson, "JSON on standard output");
  command->add_flag("--csv", flags->isCsv, "CSV on standard output");
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
