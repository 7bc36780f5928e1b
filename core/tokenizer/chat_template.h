#pragma once
// ChatTemplate: what a model's chat template offers to somebody who types raw tokens: the special tokens that it names, and for
// templates of known shape the text to put around a person's turn. No template is ever run, so that a hostile one can't do
// anything: it is only searched for the vocabulary's special tokens.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/tokenizer/tokenizer.h"

namespace headscope::core {

struct ChatTemplate {
  std::string name;                 // shape: "ChatML", "Llama 3", ...; "" not a known one
  std::vector<std::string> tokens;  // special tokens of the vocabulary that the template names, in the order in which it does
  std::string before, after;        // around a person's text, so that the model answers next; both "" for an unknown shape
  std::string note;                 // what was set aside and why

  /// The text as one turn of a person.
  std::string around(const std::string& text) const { return before + text + after; }
};

/// The template of FOLDER's chat_template.jinja, chat_template.json or tokenizer_config.json (a text, or named texts, of which
/// "default" or else the first is taken); nothing where there is none. Files that can't be read or are not what they should be
/// give a note, never an Error. Reads at most 16 MB; of a template at most 256 KB.
std::optional<ChatTemplate> readChatTemplate(const std::filesystem::path& folder, const Tokenizer& tokenizer);

/// Where tokenizer_config.json asks for a token before every text (add_bos_token) that tokenizer.json does not add: what that
/// means here; "" otherwise. tokenizer.json is followed, as transformers 5 does.
std::string missingFirstTokenNote(const std::filesystem::path& folder, const Tokenizer& tokenizer);

}  // namespace headscope::core
