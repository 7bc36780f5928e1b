#pragma once
// Tokenizers of folders without tokenizer.json: vocab.json + merges.txt (GPT-2, RoBERTa, Qwen 2) and vocab.txt (WordPiece), put
// into the form of a tokenizer.json with what tokenizer_config.json, special_tokens_map.json and added_tokens.json say.
#include <filesystem>

#include "core/tokenizer/tokenizer_json.h"

namespace headscope::core {

/// The folder has vocab.json and merges.txt. Throws Error naming the file for what is broken or not supported.
TokenizerDocument readVocabAndMerges(const std::filesystem::path& folder);
/// The folder has vocab.txt.
TokenizerDocument readVocabTxt(const std::filesystem::path& folder);

}  // namespace headscope::core
