#pragma once
// What commands share: the model with its adapter, the prompt, the device, and progress on the terminal.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/cli/command.h"
#include "core/attention/trace.h"
#include "core/backend/backend.h"
#include "core/base/job.h"
#include "core/model/model.h"
#include "core/model/prompt.h"
#include "core/session/session.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::app {

/// Prompt flags of a subcommand; exactly one source must be given.
struct PromptFlags {
  std::optional<std::string> prompt;  // "" is an empty prompt, not an absent one
  std::string textFile, ids, typeIds, pair;
  bool isChat = false;  // the text is a person's turn, in the model's chat format
  int repeat = 0;       // random tokens, this many, twice
  uint64_t seed = 1;
};
void addPromptFlags(CLI::App& command, PromptFlags& prompt);
/// The prompt that a session holds, as flags would give it; none for a session of a picture alone.
PromptFlags promptFlagsOf(const core::Session& session);

/// Opens MODEL (folder or bundled name), with the adapter of the flags on it.
std::shared_ptr<const core::Model> openModel(const std::string& model, const CommonFlags& flags);
/// The prompt for the model; what had to be cut is said on stderr unless quiet. None or several sources are wrong usage.
std::shared_ptr<const core::Prompt> makePrompt(const core::Model& model, const PromptFlags& prompt, const CommonFlags& flags);
/// The backend the flags ask for; --device cuda that can't be had is an Error with the reason.
std::shared_ptr<core::Backend> openBackend(const CommonFlags& flags);

/// Runs work with a Job whose progress is shown on the terminal (none when quiet or not a terminal); Ctrl+C cancels it.
void runWithProgress(const std::string& title, const CommonFlags& flags, const std::function<void(core::Job&)>& work);

/// "0,3-5" -> {0, 3, 4, 5}, checked against count. Throws core::Error naming the flag.
std::vector<int64_t> parseIndices(const std::string& text, int64_t count, const std::string& flag);
/// The tokenizer of a model's folder, or null when it has none that can be read.
std::shared_ptr<const core::Tokenizer> openTokenizer(const core::Model& model);

/// Throws core::Error when the selected head is outside the model, or a token outside the prompt (0 tokens: there is none); `head`, `query`
/// and `key` are where each was asked for.
void requireInside(const core::Selection& selection, const core::ModelSpec& spec, int64_t tokens, const std::string& head,
                   const std::string& query, const std::string& key);

/// "3.1,4.*" or "all" -> heads. Throws core::Error naming the flag.
std::vector<core::HeadRef> parseHeads(const std::string& text, int64_t layers, int64_t heads, const std::string& flag);

}  // namespace headscope::app
