#pragma once
// RandomWords: the prompt that shows induction heads: words in an order that nothing but the prompt itself tells, and the same words
// again. A head that looks at what followed a word the last time can't mistake it for language.
#include <cstdint>
#include <string>

#include "core/tokenizer/tokenizer.h"

namespace headscope::app {

/// `count` different words of the vocabulary, each a token of its own with a space before it, drawn by `seed`, then the same words
/// once more. Fewer where the vocabulary has fewer; "" where it has no such words. Costs a look at every entry.
std::string randomWordsTwice(const core::Tokenizer& tokenizer, int count, uint64_t seed);

}  // namespace headscope::app
