// headscope complexity: measured time, counted operations and held bytes against N: mechanisms on one head, whole layers of a
// BERT's shape, and the table of the linear-attention source.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "app/cli/inputs.h"
#include "app/cli/records.h"
#include "core/base/error.h"
#include "core/mechanisms/complexity.h"
#include "core/mechanisms/layer_cost.h"
#include "core/mechanisms/registry.h"

namespace headscope::app {
namespace {

struct ComplexityFlags {
  std::string mechanisms = core::kComplexityMechanisms, out;
  core::ComplexityOptions options;
  core::LayerShape layer;
  std::vector<std::string> parts{"head", "layer", "table"};
  bool isJson = false, isCsv = false, isBothWays = false;
  bool has(const char* part) const { return std::find(parts.begin(), parts.end(), part) != parts.end(); }
};

void add(Records& records, const char* part, std::span<const core::ComplexityPoint> points, size_t sizes, int64_t width) {
  for (size_t i = 0; i < points.size(); ++i) {
    const core::ComplexityPoint& p = points[i];
    const auto mine = points.subspan(i / sizes * sizes, sizes);
    const auto known = [&](double value) { return p.refusal.empty() ? nlohmann::json(value) : nlohmann::json(nullptr); };
    records.add({part, p.mechanism, p.size, width, known(p.seconds), known(p.processorSeconds), known(p.cost.operations),
                 known(p.cost.bytesMoved), known(p.cost.bytesHeld), known(p.cost.pairs), core::growth(mine, false),
                 core::growth(mine, true), core::timeOrder(p.mechanism), known(p.error), p.cost.formula, p.refusal});
  }
}

void run(const ComplexityFlags& flags, const CommonFlags& common) {
  checkRecordsPath(flags.out);
  const auto mechanisms = core::parseMechanisms(flags.mechanisms);
  if (flags.layer.width % flags.layer.heads != 0)
    throw core::Error(std::to_string(flags.layer.heads) + " heads do not divide a width of " + std::to_string(flags.layer.width),
                      "--layer-heads");
  core::ComplexityOptions options = flags.options;
  options.isCausal = !flags.isBothWays;
  Records records({"part", "mechanism", "n", "width", "seconds", "processor_seconds", "operations", "bytes_moved", "bytes_held", "pairs",
                   "time_growth", "held_growth", "time_order", "error", "formula", "refused"});
  runWithProgress("complexity", common, [&](core::Job& job) {
    if (flags.has("head")) add(records, "head", core::measureComplexity(mechanisms, options, job), options.sizes.size(), options.width);
    if (flags.has("layer"))
      add(records, "layer", core::measureLayers(flags.layer, options.sizes, job), options.sizes.size(), flags.layer.width);
    if (flags.has("table")) add(records, "table", core::measureTable(job), 1, core::kTableWidth);
  });
  records.write(flags.out, flags.isJson ? "json" : flags.isCsv ? "csv" : "");
}

}  // namespace

void declareComplexity(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<ComplexityFlags>();
  flags->options.sizes = {512, 1024, 2048, 4096};
  CLI::App* command = root.add_subcommand("complexity", "measured time and bytes of mechanisms and whole layers against N");
  command->add_option("--sizes", flags->options.sizes, "token counts, as 512,1024,2048")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--parts", flags->parts,
                   "head: mechanisms on one head; layer: a BERT-shaped layer against DenseAttention's; "
                   "table: N = 1,024, width 32")
      ->delimiter(',')
      ->check(CLI::IsMember({"head", "layer", "table"}))
      ->capture_default_str();
  command->add_option("--mechanisms", flags->mechanisms, "NAME:key=value,key=value, several separated by ;")->capture_default_str();
  command->add_option("--width", flags->options.width, "head width")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--layer-width", flags->layer.width, "of the layer's residual stream")
      ->check(CLI::Range(1, 16384))
      ->capture_default_str();
  command->add_option("--layer-heads", flags->layer.heads, "of the layer")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_flag("--both-ways", flags->isBothWays, "an encoder's head: no causal mask");
  command->add_option("--out", flags->out, "FILE.csv, FILE.json or FILE.txt (default: text on standard output)");
  command->add_flag("--json", flags->isJson, "JSON on standard output");
  command->add_flag("--csv", flags->isCsv, "CSV on standard output");
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
