#include "app/cli/inputs.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "app/assets.h"
#include "app/image_file.h"
#include "core/attention/prompt_limit.h"
#include "core/backend/open_backend.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/model/adapter.h"
#include "core/tokenizer/chat_template.h"
#include "core/tokenizer/prompt_builder.h"

namespace headscope::app {
namespace {

constexpr uint64_t kLargestText = uint64_t{64} << 20;

std::vector<int32_t> parseIds(const std::string& text, const std::string& flag) {
  std::vector<int32_t> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int32_t id = 0;
    const auto [next, code] = std::from_chars(at, end, id);
    if (code != std::errc() || (next < end && *next != ',')) {
      throw core::Error("\"" + text.substr(static_cast<size_t>(at - text.data()), 20) + "\" is not a list of ids", flag, "write 1,2,3");
    }
    ids.push_back(id);
    at = next < end ? next + 1 : next;
  }
  return ids;
}

std::shared_ptr<const core::Prompt> textPrompt(const core::Model& model, const PromptFlags& flags, std::string text, core::Job& job) {
  if (text.empty()) throw core::Error("the prompt is empty", "--prompt", "type some text or give --ids");
  const auto tokenizer = core::Tokenizer::open(model.folder());
  if (flags.isChat) {
    const auto chat = core::readChatTemplate(model.folder(), *tokenizer);
    if (!chat || chat->after.empty()) {
      throw core::Error(chat ? "the chat template has none of the known shapes" : "the folder has no chat template", model.name(),
                        "write the special tokens into --prompt");
    }
    text = chat->around(text);
  }
  if (!flags.pair.empty() && model.spec().segments < 2)
    throw core::Error("the model does not tell segments apart", "--pair", "give one text, --prompt");
  return core::promptFromPair(*tokenizer, text, flags.pair, core::promptLimit(model.spec()), job);
}

void checkOneSource(const PromptFlags& prompt, const CommonFlags& flags) {
  const int sources = int{prompt.prompt.has_value()} + int{!prompt.textFile.empty()} + int{!prompt.ids.empty()} + int{prompt.repeat > 0} +
                      int{!flags.image.empty()};
  if (sources != 1) {
    throw CLI::ValidationError(std::string(sources == 0 ? "nothing to run the model on" : "several prompts at once") +
                               ": give one of --prompt, --text-file, --ids, --repeat and --image");
  }
  if (!prompt.typeIds.empty() && prompt.ids.empty()) throw CLI::ValidationError("--type-ids without --ids");
  const bool hasText = prompt.prompt.has_value() || !prompt.textFile.empty();
  if (!prompt.pair.empty() && !hasText) throw CLI::ValidationError("--pair without --prompt");
  if (prompt.isChat && !hasText) throw CLI::ValidationError("--chat without --prompt");
}

}  // namespace

void addPromptFlags(CLI::App& command, PromptFlags& prompt) {
  command.add_option("--prompt", prompt.prompt, "text");
  command.add_option("--text-file", prompt.textFile, "file of text");
  command.add_option("--pair", prompt.pair, "text of a second segment, for models that tell segments apart (BERT)");
  command.add_flag("--chat", prompt.isChat, "the text as a person's turn, with the special tokens of the model's chat template");
  command.add_option("--ids", prompt.ids, "token ids: 1,2,3");
  command.add_option("--type-ids", prompt.typeIds, "token types, one an id: 0,0,1");
  command.add_option("--repeat", prompt.repeat, "this many random tokens, twice")->check(CLI::Range(1, 1 << 20));
  command.add_option("--seed", prompt.seed, "of --repeat")->capture_default_str();
}

PromptFlags promptFlagsOf(const core::Session& session) {
  PromptFlags flags;
  if (!session.ids.empty()) {
    for (const int32_t id : session.ids) flags.ids += (flags.ids.empty() ? "" : ",") + std::to_string(id);
    for (const int32_t type : session.typeIds) flags.typeIds += (flags.typeIds.empty() ? "" : ",") + std::to_string(type);
  } else if (session.image.empty() || !session.prompt.empty()) {
    flags.prompt = session.prompt, flags.pair = session.pair;
  }
  return flags;
}

std::shared_ptr<const core::Model> openModel(const std::string& model, const CommonFlags& flags) {
  auto base = core::Model::open(resolveModel(model));
  if (flags.adapter.empty()) return base;
  return base->withAdapter(core::Adapter::open(resolveAdapter(flags.adapter)), flags.strength);
}

std::shared_ptr<const core::Tokenizer> openTokenizer(const core::Model& model) {
  try {
    return core::Tokenizer::open(model.folder());
  } catch (const core::Error&) {
    return nullptr;  // ids work without; a text prompt opens the tokenizer itself and reports what is wrong
  }
}

std::shared_ptr<const core::Prompt> makePrompt(const core::Model& model, const PromptFlags& prompt, const CommonFlags& flags) {
  checkOneSource(prompt, flags);
  const bool takesImage = model.spec().input == core::InputKind::Image;
  if (takesImage == flags.image.empty()) {
    throw core::Error(takesImage ? "the model reads images" : "the model reads text", model.name(),
                      takesImage ? "give --image" : "give --prompt");
  }
  std::shared_ptr<const core::Prompt> made;
  runWithProgress("tokenizing", flags, [&](core::Job& job) {
    if (takesImage) {
      made = promptFromImageFile(model, flags.image);
    } else if (prompt.prompt.has_value()) {
      made = textPrompt(model, prompt, *prompt.prompt, job);
    } else if (!prompt.textFile.empty()) {
      made = textPrompt(model, prompt, core::readTextFile(prompt.textFile, kLargestText), job);
    } else if (prompt.repeat > 0) {
      const auto tokenizer = openTokenizer(model);
      made = core::promptOfRepeatedTokens(tokenizer.get(), model.spec().vocabulary, prompt.repeat, prompt.seed, tokenizer != nullptr);
    } else {
      made = core::promptFromIds(openTokenizer(model).get(), parseIds(prompt.ids, "--ids"), parseIds(prompt.typeIds, "--type-ids"));
    }
  });
  if (!flags.isQuiet) {
    for (const std::string& note : made->notes) std::fprintf(stderr, "headscope: %s\n", note.c_str());
    if (core::isBeyondContext(model.spec(), made->count())) {
      std::fprintf(stderr, "headscope: %lld tokens, beyond the %lld that the model was trained with\n",
                   static_cast<long long>(made->count()), static_cast<long long>(model.spec().context));
    }
  }
  return made;
}

std::shared_ptr<core::Backend> openBackend(const CommonFlags& flags) {
  return core::openBackend(flags.device, core::precisionOf(flags.precision));
}

}  // namespace headscope::app
