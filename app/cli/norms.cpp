// headscope norms MODEL...: spectral norms of attention maps against fan-in and fan-out over a family of checkpoints.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "app/cli/inputs.h"
#include "app/cli/records.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/weights/width_scaling.h"

namespace headscope::app {
namespace {

using nlohmann::json;

struct NormsFlags {
  std::vector<std::string> models;
  std::string out;
};

json numberOrNull(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }

void run(const NormsFlags& flags, const CommonFlags& common) {
  const bool isJson = flags.out.ends_with(".json");
  if (!isJson && !flags.out.ends_with(".csv")) throw core::Error("--out must end in .json or .csv", flags.out);
  if (!common.adapter.empty() && flags.models.size() > 1) throw core::Error("an adapter fits one model", "--adapter", "give one MODEL");
  const auto backend = core::deviceOnly(openBackend(common));
  std::vector<core::NormPoint> points;
  runWithProgress("norms", common, [&](core::Job& job) {
    for (const std::string& name : flags.models) {
      const auto found = core::normPoints(*openModel(name, common), job, backend.get());
      points.insert(points.end(), found.begin(), found.end());
      for (const core::NormPoint& p : found) {
        if (!common.isQuiet && !std::isfinite(p.spectral))
          std::fprintf(stderr, "headscope: %s, layer %lld, %s: NaN or infinite values\n", p.model.c_str(), static_cast<long long>(p.layer),
                       p.matrix.c_str());
      }
    }
  });
  const std::vector<std::string> columns = {"model",
                                            "layer",
                                            "matrix",
                                            "width",
                                            "fan_in",
                                            "fan_out",
                                            "spectral_norm",
                                            "frobenius_norm",
                                            "mup_prediction",
                                            "ratio_to_mup",
                                            "standard_prediction"};
  const auto rowOf = [](const core::NormPoint& p) {
    return std::vector<json>{p.model,
                             p.layer,
                             p.matrix,
                             p.width,
                             p.fanIn,
                             p.fanOut,
                             numberOrNull(p.spectral),
                             numberOrNull(p.frobenius),
                             p.mup(),
                             numberOrNull(p.spectral / p.mup()),
                             p.standard()};
  };
  if (!isJson) {
    Records records(columns);
    for (const core::NormPoint& p : points) records.add(rowOf(p));
    records.write(flags.out, "csv");
    return;
  }
  json out = {{"records", json::array()}, {"exponents", json::array()}};
  for (const core::NormPoint& p : points) {
    const std::vector<json> row = rowOf(p);
    json record;
    for (size_t i = 0; i < columns.size(); ++i) record[columns[i]] = row[i];
    out["records"].push_back(std::move(record));
  }
  for (const core::WidthExponent& e : core::widthExponents(points)) {
    out["exponents"].push_back({{"matrix", e.matrix},
                                {"widths", e.widths},
                                {"fitted", numberOrNull(e.fitted)},
                                {"mup", numberOrNull(e.mup)},
                                {"standard_aligned", numberOrNull(e.standard)}});
  }
  core::writeFileWhole(flags.out, [&](std::ostream& file) { file << out.dump(1) << '\n'; });
}

}  // namespace

void declareNorms(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<NormsFlags>();
  CLI::App* command = root.add_subcommand("norms", "spectral norms against fan-in and fan-out, beside what muP predicts");
  command->add_option("models", flags->models, "model folders: a family of widths, or checkpoints of one training")->required();
  command->add_option("--out", flags->out, "F.json (with exponents over the widths) or F.csv")->required();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
