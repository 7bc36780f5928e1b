#pragma once
// Prompts from text, from ids and from random tokens. Whatever is cut is said in Prompt::notes.
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/job.h"
#include "core/model/prompt.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::core {

/// Tokenizes text. With a context limit (>= 0; -1: none) the last tokens of the text beyond it are cut, tokens that the template
/// puts after the text stay; of a text much longer than the limit only a first part is tokenized at all, so that time and
/// memory stay bounded (about 40 bytes a byte of text otherwise). What was cut is said in the prompt's notes, where limitName says
/// whose limit it was. Throws Cancelled, and Error where the text can't be tokenized.
std::shared_ptr<const Prompt> promptFromText(const Tokenizer& tokenizer, std::string_view text, bool withSpecial, int64_t contextLimit,
                                             Job& job, const std::string& limitName = "the model's context");

/// Two texts as two segments, [CLS] first [SEP] second [SEP] with token types 0 and 1, for models that tell segments apart: what
/// the tokenizer puts before a text is put before the first alone. An empty second text gives promptFromText. Beyond the limit
/// the end of the second text is cut, and said.
std::shared_ptr<const Prompt> promptFromPair(const Tokenizer& tokenizer, std::string_view first, std::string_view second,
                                             int64_t contextLimit, Job& job, const std::string& limitName = "the model's context");

/// A token apart from any text: what the id is called and stands for; without a tokenizer (null) its id alone.
Token tokenOf(const Tokenizer* tokenizer, int32_t id);

/// Ids as they are; without a tokenizer (null) tokens have no text. typeIds: one an id, or none (all 0).
/// Throws Error for negative ids and for lists of different lengths. Whether the model has such ids is the model's check.
std::shared_ptr<const Prompt> promptFromIds(const Tokenizer* tokenizer, const std::vector<int32_t>& ids,
                                            const std::vector<int32_t>& typeIds);

/// `count` random ids below vocabularySize, then the same ids again, with the template's first tokens ("<s>") before them when
/// the tokenizer has such: the text on which induction heads show. Drawn with replacement by a fixed generator: the same seed
/// gives the same ids everywhere. avoidSpecial: leave special and unused ids out (needs a tokenizer).
std::shared_ptr<const Prompt> promptOfRepeatedTokens(const Tokenizer* tokenizer, int64_t vocabularySize, int64_t count, uint64_t seed,
                                                     bool avoidSpecial);

}  // namespace headscope::core
