// headscope tokenize MODEL: text to ids, pieces, offsets and back, as JSON.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/assets.h"
#include "app/cli/command.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::app {
namespace {

constexpr uint64_t kLongestText = uint64_t{256} << 20;
constexpr uint64_t kLongestJsonl = uint64_t{1} << 30;

struct TokenizeFlags {
  std::string model, text, textFile, jsonl;
  bool withoutSpecial = false;
};

nlohmann::json answer(const core::Tokenizer& tokenizer, const std::string& text, bool withSpecial) {
  core::Job job("tokenize");
  const core::Encoding encoding = tokenizer.encode(text, withSpecial, job);
  std::vector<int32_t> ids;
  nlohmann::json pieces = nlohmann::json::array(), offsets = nlohmann::json::array();
  for (const core::Encoding::Entry& entry : encoding.entries) {
    ids.push_back(entry.id);
    pieces.push_back(entry.piece);
    offsets.push_back({entry.begin, entry.end});
  }
  return {{"ids", ids}, {"pieces", std::move(pieces)}, {"offsets", std::move(offsets)}, {"decoded", tokenizer.decode(ids)}};
}

void print(const nlohmann::json& json) { std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n'; }

void answerLines(const core::Tokenizer& tokenizer, const TokenizeFlags& flags) {
  const std::string lines = core::readTextFile(flags.jsonl, kLongestJsonl);
  int64_t number = 0;
  for (size_t at = 0; at < lines.size();) {
    size_t end = lines.find('\n', at);
    if (end == std::string::npos) end = lines.size();
    const std::string_view line = std::string_view(lines).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = flags.jsonl + ", line " + std::to_string(number);
    // The callback bounds the depth: a line holds one flat object.
    const auto question = nlohmann::json::parse(
        line, [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) { return depth < 8; }, false);
    if (!question.is_object() || !question.contains("text") || !question["text"].is_string() ||
        (question.contains("special") && !question["special"].is_boolean())) {
      throw core::Error("not a JSON object {\"text\": ..., \"special\": true or false}", where);
    }
    const bool withSpecial = question.value("special", true) && !flags.withoutSpecial;
    print(answer(tokenizer, question["text"].get<std::string>(), withSpecial));
  }
}

void run(const TokenizeFlags& flags) {
  const auto tokenizer = core::Tokenizer::open(resolveModel(flags.model));
  if (!flags.jsonl.empty()) return answerLines(*tokenizer, flags);
  const std::string text = flags.textFile.empty() ? flags.text : core::readTextFile(flags.textFile, kLongestText);
  print(answer(*tokenizer, text, !flags.withoutSpecial));
}

}  // namespace

void declareTokenize(CLI::App& root, CommonFlags& common) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command = root.add_subcommand("tokenize", "ids, pieces, offsets and decoded text of a text, as JSON");
  command->add_option("model", flags->model, "model or tokenizer folder, or the name of a bundled model")->required();
  CLI::Option_group* source = command->add_option_group("source");
  source->add_option("--text", flags->text, "the text");
  source->add_option("--text-file", flags->textFile, "a file that holds the text");
  source->add_option("--jsonl", flags->jsonl, "a file with one {\"text\", \"special\"} a line: one answer a line");
  source->require_option(1);
  command->add_flag("--no-special", flags->withoutSpecial, "without the tokens that the template adds");
  addCommonFlags(*command, common);
  command->callback([flags] { run(*flags); });
}

}  // namespace headscope::app
