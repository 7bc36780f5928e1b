// headscope subspace MODEL: how much of the residual stream a layer's heads share: error against rank, parameters saved.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "app/cli/inputs.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/weights/subspace.h"

namespace headscope::app {
namespace {

using nlohmann::json;

struct SubspaceFlags {
  std::string model, fold = "auto", layers, out;
  std::vector<std::string> sides = {"output"};
  int64_t rank = 0;
};

/// All ranks of a small stack, about 256 of a large one; 0, the full and the break-even rank always.
std::vector<int64_t> ranksShown(const core::SharedSubspace& s) {
  std::vector<int64_t> ranks;
  const int64_t full = s.fullRank(), step = std::max<int64_t>(1, full / 256), even = static_cast<int64_t>(s.breakEven());
  for (int64_t r = 0; r <= full; r += step) {
    if (even > 0 && even < full && even > r - step && even < r) ranks.push_back(even);
    ranks.push_back(r);
  }
  if (ranks.back() != full) ranks.push_back(full);
  return ranks;
}

json recordOf(const core::SharedSubspace& s, int64_t rank) {
  const std::vector<double> errors = s.errors(), stored = s.storedErrors();
  json record = {{"layer", s.layer},
                 {"side", core::nameOf(s.side)},
                 {"stack_rows", s.stackRows},
                 {"width", s.width},
                 {"break_even", s.breakEven()},
                 {"rank", json::array()},
                 {"error", json::array()},
                 {"energy_error", json::array()},
                 {"unnormalised_error", json::array()},
                 {"parameters_saved", json::array()},
                 {"heads", json::array()}};
  for (const int64_t r : ranksShown(s)) {
    const size_t at = static_cast<size_t>(r);
    record["rank"].push_back(r);
    record["error"].push_back(errors[at]);
    record["energy_error"].push_back(errors[at] * errors[at]);
    record["unnormalised_error"].push_back(stored[at]);
    record["parameters_saved"].push_back(s.parametersSaved(r));
  }
  const int64_t chosen = rank > 0 ? std::min(rank, s.fullRank()) : std::min(s.fullRank(), static_cast<int64_t>(s.breakEven()));
  record["heads_at_rank"] = chosen;
  for (int64_t h = 0; h < s.heads; ++h) record["heads"].push_back({{"head", h}, {"error", s.headError(h, chosen)}});
  return record;
}

void writeCsv(const std::string& path, const std::vector<core::SharedSubspace>& all) {
  core::writeFileWhole(path, [&](std::ostream& file) {
    file << "layer,side,rank,error,energy_error,unnormalised_error,parameters_saved\n";
    char line[200];
    for (const core::SharedSubspace& s : all) {
      const std::vector<double> errors = s.errors(), stored = s.storedErrors();
      for (const int64_t r : ranksShown(s)) {
        const size_t at = static_cast<size_t>(r);
        std::snprintf(line, sizeof line, "%lld,%s,%lld,%.7g,%.7g,%.7g,%.7g\n", static_cast<long long>(s.layer), core::nameOf(s.side),
                      static_cast<long long>(r), errors[at], errors[at] * errors[at], stored[at], s.parametersSaved(r));
        file << line;
      }
    }
  });
}

void run(const SubspaceFlags& flags, const CommonFlags& common) {
  const bool isCsv = flags.out.ends_with(".csv");
  if (!isCsv && !flags.out.ends_with(".json")) throw core::Error("--out must end in .json or .csv", flags.out);
  const auto model = openModel(flags.model, common);
  const core::Fold fold = flags.fold == "on" ? core::Fold::On : flags.fold == "off" ? core::Fold::Off : core::defaultFold(model->spec());
  std::vector<int64_t> layers;
  if (flags.layers.empty()) {
    for (int64_t l = 0; l < model->spec().layers; ++l) layers.push_back(l);
  } else {
    layers = parseIndices(flags.layers, model->spec().layers, "--layers");
  }
  const auto backend = core::deviceOnly(openBackend(common));
  std::vector<core::SharedSubspace> all;
  runWithProgress("subspace", common, [&](core::Job& job) {
    const double pieces = static_cast<double>(layers.size() * flags.sides.size());
    const auto report = [&](double done, int64_t layer) { job.report(done / pieces, "layer " + std::to_string(layer)); };
    for (size_t i = 0; i < layers.size(); ++i) {
      report(static_cast<double>(all.size()), layers[i]);
      job.checkpoint();
      const core::HeadWeights weights = core::headWeights(*model, layers[i], fold, core::MlaSplit::Heads, {}, &job);
      for (const core::SubspaceSide side :
           {core::SubspaceSide::Output, core::SubspaceSide::Query, core::SubspaceSide::Key, core::SubspaceSide::Value}) {
        if (std::find(flags.sides.begin(), flags.sides.end(), core::nameOf(side)) == flags.sides.end()) continue;
        all.push_back(core::sharedSubspace(
            weights, side, job, [&, before = static_cast<double>(all.size())](double done) { report(before + done, layers[i]); },
            backend.get()));
        for (const std::string& note : all.back().notes) {
          if (!common.isQuiet) std::fprintf(stderr, "headscope: %s\n", note.c_str());
        }
      }
    }
  });
  if (isCsv) return writeCsv(flags.out, all);
  json out = {{"model", model->name()}, {"fold_norms", fold == core::Fold::On ? "on" : "off"}, {"layers", json::array()}};
  for (const core::SharedSubspace& s : all) out["layers"].push_back(recordOf(s, flags.rank));
  core::writeFileWhole(flags.out, [&](std::ostream& file) { file << out.dump() << '\n'; });
}

}  // namespace

void declareSubspace(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<SubspaceFlags>();
  CLI::App* command = root.add_subcommand("subspace", "shared output and read subspaces of each layer");
  command->add_option("model", flags->model, "model folder, or the name of a bundled model")->required();
  command->add_option("--fold-norms", flags->fold, "norm gains folded into the weights: on, off (default: on where it is allowed)")
      ->check(CLI::IsMember({"on", "off"}));
  command->add_option("--side", flags->sides, "output, query, key, value (default: output)")
      ->check(CLI::IsMember({"output", "query", "key", "value"}))
      ->delimiter(',');
  command->add_option("--layers", flags->layers, "these layers only: 0,3-5");
  command->add_option("--rank", flags->rank, "rank of the per-head errors in JSON (default: the break-even rank)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--out", flags->out, "F.json or F.csv")->required();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
