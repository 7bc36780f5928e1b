// headscope compose MODEL: how strongly each head feeds each later head's queries, keys and values.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <ostream>

#include "app/cli/inputs.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/safetensors_writer.h"
#include "core/weights/composition.h"

namespace headscope::app {
namespace {

using core::CompositionKind;

struct ComposeFlags {
  std::string model, fold = "auto", null = "none", metric = "frobenius", layers, out;
  uint64_t seed = 1;
  int64_t draws = 4;
};

constexpr CompositionKind kKinds[] = {CompositionKind::Query, CompositionKind::Key, CompositionKind::Value};
constexpr const char* kNames[] = {"q", "k", "v"};

void writeEdges(const std::string& path, const core::Composition& c) {
  core::writeFileWhole(path, [&](std::ostream& file) {
    const bool hasNull = !c.null[0].empty();
    file << "layer,head,to_layer,to_head,kind,value,baseline,excess" << (hasNull ? ",baseline_deviation\n" : "\n");
    char line[200], end[40];
    const auto number = [&](int64_t l) { return static_cast<long long>(c.layerNumbers[static_cast<size_t>(l)]); };
    for (int64_t a = 0; a < c.layers; ++a) {
      for (int64_t i = 0; i < c.heads; ++i) {
        for (int64_t b = a + 1; b < c.layers; ++b) {
          for (int64_t j = 0; j < c.heads; ++j) {
            for (size_t k = 0; k < 3; ++k) {
              const double value = c.at(kKinds[k], a, i, b, j), baseline = c.baseline(kKinds[k], a, i, b, j);
              end[0] = '\0';
              if (hasNull) std::snprintf(end, sizeof end, ",%.7g", static_cast<double>(c.nullDeviation[k][c.index(a, i, b, j)]));
              std::snprintf(line, sizeof line, "%lld,%lld,%lld,%lld,%s,%.7g,%.7g,%.7g%s\n", number(a), static_cast<long long>(i), number(b),
                            static_cast<long long>(j), kNames[k], value, baseline, value - baseline, end);
              file << line;
            }
          }
        }
      }
    }
  });
}

void writeTensors(const std::string& path, core::Composition c) {
  core::SafetensorsWriter writer;
  const std::vector<int64_t> shape = {c.layers, c.heads, c.layers, c.heads};
  writer.metadata["expectation"] = std::to_string(c.expectation);
  std::string numbers;
  for (const int64_t l : c.layerNumbers) numbers += (numbers.empty() ? "" : ",") + std::to_string(l);
  writer.metadata["layers"] = numbers;
  for (size_t k = 0; k < 3; ++k) {
    writer.add(kNames[k], shape, std::move(c.values[k]));
    if (c.null[k].empty()) continue;
    writer.add(std::string("null.") + kNames[k], shape, std::move(c.null[k]));
    writer.add(std::string("null_deviation.") + kNames[k], shape, std::move(c.nullDeviation[k]));
  }
  writer.write(path);
}

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
  core::Composition result;
  runWithProgress("composition", common, [&](core::Job& job) { result = core::composition(*model, options, job); });
  for (const std::string& note : result.notes) {
    if (!common.isQuiet) std::fprintf(stderr, "headscope: %s\n", note.c_str());
  }
  if (isCsv) return writeEdges(flags.out, result);
  writeTensors(flags.out, std::move(result));
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
