// headscope bench: times as JSON lines, ours and the naive way in one run.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "app/cli/bench_registry.h"
#include "app/cli/inputs.h"
#include "core/base/error.h"

namespace headscope::app {
namespace {

/// A new folder that goes with everything in it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "headscope-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw core::Error("can't make a folder for scratch files", pattern);
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code code;
    std::filesystem::remove_all(path_, code);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Four digits are more than a clock gives.
double rounded(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return std::strtod(text, nullptr);
}

void print(const core::BenchResult& result, const core::BenchContext& context) {
  nlohmann::ordered_json line;
  line["bench"] = result.bench;
  const auto put = [&](const std::string& key, double value) {
    if (!std::isnan(value)) line[key] = rounded(value);
  };
  put("ours_s", result.ours);
  put("naive_s", result.naive);
  put("floor_s", result.floor);
  put("floor_multiple", result.ours / result.floor);
  // The same in processor seconds, which others on the machine disturb less.
  const auto processor = result.more.find("ours_processor_s");
  if (processor != result.more.end())
    put("processor_floor_multiple", processor->second * context.sgemmPerProcessorSecond / (result.floor * context.sgemmGflops));
  put("limit_s", result.limit);
  if (!std::isnan(result.limit) && !std::isnan(result.ours)) line["within_limit"] = result.ours <= result.limit;
  for (const auto& [key, value] : result.more) put(key, value);
  if (!result.note.empty()) line["note"] = result.note;
  put("sgemm_gflops", context.sgemmGflops);
  line["backend"] = context.backend->name();
  if (const std::string reason = context.backend->reason(); !reason.empty()) line["backend_reason"] = reason;
  line["machine"] = core::machineName();
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
}

void run(const std::string& name, const CommonFlags& flags) {
  bool isKnown = name.empty();
  for (const core::Bench& bench : allBenches()) isKnown = isKnown || name == bench.name;
  if (!isKnown) {
    std::string known;
    for (const core::Bench& bench : allBenches()) known += std::string(known.empty() ? "" : ", ") + bench.name;
    throw core::Error("no bench named " + name, "bench", "known: " + known);
  }
  for (const core::Bench& bench : allBenches()) {
    if (!name.empty() && name != bench.name) continue;
    if (name.empty() && bench.isLong) {
      if (!flags.isQuiet) std::fprintf(stderr, "%s: left out, as it takes minutes; ask for it by name\n", bench.name);
      continue;
    }
    if (!flags.isQuiet) std::fprintf(stderr, "%s: %s\n", bench.name, bench.what);
    const ScratchFolder scratch;
    const core::SgemmRate rate = core::measureSgemm();
    core::BenchContext context{openBackend(flags), rate.gflops, rate.perProcessorSecond, scratch.path()};
    for (const core::BenchResult& result : bench.run(context)) print(result, context);
  }
}

}  // namespace

void declareBench(CLI::App& root, CommonFlags& common) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = root.add_subcommand("bench", "times as JSON lines, ours and the naive way");
  command->add_option("name", *name, "one bench (default: all)");
  addCommonFlags(*command, common);
  command->callback([name, &common] { run(*name, common); });
}

}  // namespace headscope::app
