// headscope compose MODEL: how strongly each head feeds each later head's queries, keys and values.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "app/cli/inputs.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/weights/composition_file.h"

namespace headscope::app {
namespace {

struct ComposeFlags {
  std::string model, fold = "auto", null = "none", metric = "frobenius", layers, out;
  uint64_t seed = 1;
  int64_t draws = 4;
};

void run(const ComposeFlags& flags, const CommonFlags& common) {
  const bool isCsv = flags.out.ends_with(".csv");
  if (!isCsv && !flags.out.ends_with(".safetensors")) throw core::Error("--out must end in .safetensors or .csv", flags.out);
  const auto model = openModel(flags.model, common);
  core::CompositionOptions options;
  options.fold = flags.fold == "on" ? core::Fold::On : flags.fold == "off" ? core::Fold::Off : core::defaultFold(model->spec());
  options.metric = flags.metric == "kernel" ? core::CompositionMetric::Kernel : core::CompositionMetric::Frobenius;
  options.withNull = flags.null == "permutation";
  options.seed = flags.seed;
  options.draws = flags.draws;
  if (!flags.layers.empty()) options.layers = parseIndices(flags.layers, model->spec().layers, "--layers");
  options.backend = core::deviceOnly(openBackend(common));
  core::Composition about;
  runWithProgress("composition", common, [&](core::Job& job) {
    about = isCsv ? core::writeCompositionEdges(flags.out, *model, options, job)
                  : core::writeCompositionTensors(flags.out, *model, options, job);
  });
  for (const std::string& note : about.notes) {
    if (!common.isQuiet) std::fprintf(stderr, "headscope: %s\n", note.c_str());
  }
}

}  // namespace

void declareCompose(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<ComposeFlags>();
  CLI::App* command = root.add_subcommand("compose", "composition of every pair of heads: queries, keys, values");
  command->add_option("model", flags->model, "model folder, or the name of a bundled model")->required();
  command->add_option("--fold-norms", flags->fold, "norm gains folded into the weights: on, off (default: on where it is allowed)")
      ->check(CLI::IsMember({"on", "off"}));
  command->add_option("--null", flags->null, "baseline: none (random heads' expectation) or permutation of what heads write")
      ->check(CLI::IsMember({"none", "permutation"}))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "seed of the first permutation")->capture_default_str();
  command->add_option("--draws", flags->draws, "permutations that the baseline is the mean of")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--layers", flags->layers, "compose these layers only: 0,3-5");
  command->add_option("--metric", flags->metric, "frobenius, or kernel: overlap of orthonormal bases")
      ->check(CLI::IsMember({"frobenius", "kernel"}))
      ->capture_default_str();
  command->add_option("--out", flags->out, "F.safetensors (q, k, v [L, H, L, H]) or F.csv (an edge list)")->required();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
