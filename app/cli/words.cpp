// headscope words MODEL --head L.H: vocabulary items that a head's top singular directions read and write.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "app/cli/inputs.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/weights/words.h"

namespace headscope::app {
namespace {

using nlohmann::json;

struct WordsFlags {
  std::string model, head, matrix = "W_OV", out;
  int64_t directions = 5, top = 10;
};

json listOf(const std::vector<core::WordScore>& words, const core::Tokenizer* tokenizer) {
  json out = json::array();
  for (const core::WordScore& w : words) {
    json item = {{"id", w.id}, {"score", w.score}};
    if (tokenizer != nullptr) item["text"] = tokenizer->decode({w.id});
    out.push_back(std::move(item));
  }
  return out;
}

void run(const WordsFlags& flags, const CommonFlags& common) {
  if (!flags.out.ends_with(".json")) throw core::Error("--out must end in .json", flags.out);
  const auto model = openModel(flags.model, common);
  const auto heads = parseHeads(flags.head, model->spec().layers, model->spec().heads, "--head");
  if (heads.size() != 1) throw core::Error("one head is needed, like 3.1", "--head " + flags.head);
  const auto tokenizer = openTokenizer(*model);
  const auto backend = core::deviceOnly(openBackend(common));
  if (backend) backend->keepWeights(model);
  core::HeadWords words;
  runWithProgress("words", common, [&](core::Job& job) {
    words = core::headWords(*model, heads.front(), flags.matrix == "W_QK" ? core::Circuit::QK : core::Circuit::OV, flags.directions,
                            flags.top, job, backend.get());
  });
  json out = {{"model", model->name()},
              {"layer", heads.front().layer},
              {"head", heads.front().head},
              {"matrix", flags.matrix},
              {"fold_norms", words.isFolded ? "on" : "off"},
              {"written_through", words.circuit == core::Circuit::OV && words.isUnembedded ? "unembedding" : "embedding"},
              {"directions", json::array()}};
  for (const core::DirectionWords& d : words.directions) {
    out["directions"].push_back(
        {{"sigma", d.sigma},
         {"group", d.group},
         {"reads", {{"positive", listOf(d.readPositive, tokenizer.get())}, {"negative", listOf(d.readNegative, tokenizer.get())}}},
         {"writes", {{"positive", listOf(d.writePositive, tokenizer.get())}, {"negative", listOf(d.writeNegative, tokenizer.get())}}}});
  }
  core::writeFileWhole(flags.out, [&](std::ostream& file) { file << out.dump(-1, ' ', false, json::error_handler_t::replace) << '\n'; });
}

}  // namespace

void declareWords(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<WordsFlags>();
  CLI::App* command = root.add_subcommand("words", "vocabulary items that a head's top singular directions read and write");
  command->add_option("model", flags->model, "model folder, or the name of a bundled model")->required();
  command->add_option("--head", flags->head, "the head: 3.1")->required();
  command->add_option("--matrix", flags->matrix, "W_OV or W_QK")->check(CLI::IsMember({"W_OV", "W_QK"}))->capture_default_str();
  command->add_option("--directions", flags->directions, "singular directions")->check(CLI::Range(1, 1024))->capture_default_str();
  command->add_option("--top", flags->top, "words at each end")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_option("--out", flags->out, "F.json")->required();
  addCommonFlags(*command, common);
  command->callback([flags, &common] { run(*flags, common); });
}

}  // namespace headscope::app
