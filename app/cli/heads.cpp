// headscope heads: scores of every head on a prompt, as CSV or safetensors.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <ostream>
#include <string>

#include "app/cli/inputs.h"
#include "core/attention/forward.h"
#include "core/attention/head_scores.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/safetensors_writer.h"

namespace headscope::app {
namespace {

struct HeadsFlags {
  std::string model, out;
  PromptFlags prompt;
};

/// Every column, also those that a model which sees both ways does not have.
std::vector<std::string> columns() {
  std::vector<std::string> names = {"entropy", "previous", "self", "first", "induction", "duplicate", "distance"};
  for (const char* prefix : {"keys.", "weighted_keys."}) {
    for (const double share : core::kKeyShares) names.push_back(prefix + core::shareName(share));
  }
  return names;
}

/// A score that the model does not have is an empty cell, one that this prompt does not give is nan.
std::string cell(const core::HeadScores& scores, const std::string& name, core::HeadRef head) {
  if (!scores.has(name)) return "";
  const double value = scores.at(name, head);
  if (std::isnan(value)) return "nan";
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

void writeCsv(const core::HeadScores& scores, const std::filesystem::path& path) {
  core::writeFileWhole(path, [&](std::ostream& out) {
    out << "layer,head";
    for (const std::string& name : columns()) out << ',' << name;
    out << '\n';
    for (int64_t l = 0; l < scores.layers(); ++l) {
      for (int64_t h = 0; h < scores.heads(); ++h) {
        out << l << ',' << h;
        for (const std::string& name : columns()) out << ',' << cell(scores, name, {l, h});
        out << '\n';
      }
    }
  });
}

void writeSafetensors(const core::HeadScores& scores, const std::filesystem::path& path) {
  core::SafetensorsWriter writer;
  for (const std::string& name : scores.names()) writer.add(name, {scores.layers(), scores.heads()}, scores.values(name));
  writer.write(path);
}

void run(const HeadsFlags& flags, const CommonFlags& common) {
  const std::filesystem::path path = flags.out;
  const std::string extension = path.extension().string();
  if (extension != ".csv" && extension != ".safetensors") {
    throw core::Error("unknown kind of file \"" + extension + "\"", "--out", "name it .csv or .safetensors");
  }
  const auto model = openModel(flags.model, common);
  const auto prompt = makePrompt(*model, flags.prompt, common);
  const auto backend = openBackend(common);
  runWithProgress("heads", common, [&](core::Job& job) {
    const auto trace = core::runForward(model, prompt, backend, {}, job);
    const core::HeadScores scores = core::headScores(*trace, true, job);
    extension == ".csv" ? writeCsv(scores, path) : writeSafetensors(scores, path);
  });
}

}  // namespace

void declareHeads(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<HeadsFlags>();
  CLI::App* command = root.add_subcommand("heads", "scores of every head on a prompt");
  command->add_option("model", flags->model, "folder or bundled name")->required();
  command->add_option("--out", flags->out, "FILE.csv or FILE.safetensors")->required();
  addPromptFlags(*command, flags->prompt);
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
