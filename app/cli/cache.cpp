// headscope cache: key/value cache sizes of a model, as it is and under what-ifs, by dtype.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/cli/inputs.h"
#include "app/cli/records.h"
#include "core/mechanisms/cache_size.h"

namespace headscope::app {
namespace {

struct CacheFlags {
  std::string model, out;
  int64_t context = 0;
  core::CacheWhatIfs whatIfs;
  bool isJson = false, isCsv = false, isPerLayer = false;
};

void run(const CacheFlags& flags, const CommonFlags& common) {
  checkRecordsPath(flags.out);
  const auto model = openModel(flags.model, common);
  const auto& spec = model->spec();
  const int64_t context = flags.context > 0 ? flags.context : spec.context > 0 ? spec.context : 4096;
  Records records({"layer", "scheme", "title", "dtype", "context", "numbers_per_token", "bytes_per_token", "bytes", "share_of_model"});
  const auto schemes = core::cacheSchemes(spec, flags.whatIfs);
  for (const core::CacheScheme& scheme : schemes) {
    for (const core::CacheDType& type : core::cacheDTypes()) {
      for (int64_t layer = -1; layer < (flags.isPerLayer ? spec.layers : 0); ++layer) {
        const double numbers = layer < 0 ? scheme.numbersPerToken() : scheme.numbers[static_cast<size_t>(layer)];
        const double bytes = core::cacheBytes(scheme, context, type.bytes, layer),
                     own = core::cacheBytes(schemes[0], context, type.bytes, layer);
        records.add({layer < 0 ? nlohmann::json("all") : nlohmann::json(layer), scheme.name, scheme.title, type.name, context, numbers,
                     numbers * type.bytes, bytes, own > 0 ? nlohmann::json(bytes / own) : nlohmann::json(nullptr)});
      }
    }
  }
  records.write(flags.out, flags.isJson ? "json" : flags.isCsv ? "csv" : "");
}

}  // namespace

void declareCache(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<CacheFlags>();
  CLI::App* command = root.add_subcommand("cache", "key/value cache sizes by mechanism and dtype");
  command->add_option("model", flags->model, "folder or bundled name")->required();
  command->add_option("--context", flags->context, "tokens (default: the model's context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--groups", flags->whatIfs.groups, "key/value heads of the GQA what-if (default: heads / 8)")
      ->check(CLI::Range(1, 65536));
  command->add_option("--latent", flags->whatIfs.latent, "latent numbers of the MLA what-if")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--window", flags->whatIfs.window, "tokens of the window what-if")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  command->add_option("--reuse-every", flags->whatIfs.reuseEvery, "layers that share one cache in the reuse what-if")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--per-layer", flags->isPerLayer, "a row a layer as well");
  command->add_option("--out", flags->out, "FILE.csv, FILE.json or FILE.txt (default: text on standard output)");
  command->add_flag("--json", flags->isJson, "JSON on standard output");
  command->add_flag("--csv", flags->isCsv, "CSV on standard output");
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
