#include "core/tokenizer/prompt_builder.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

constexpr size_t kTokenizedAnyway = size_t{1} << 20;  // bytes
constexpr size_t kBytesPerToken = 64;                 // of text that are enough for a token of the context
constexpr int64_t kMostRepeated = int64_t{1} << 20;

/// A start of text of about `bytes` bytes that ends before white space.
std::string_view startOf(std::string_view text, size_t bytes) {
  size_t end = bytes;
  while (end > bytes / 2 && text[end] != ' ' && text[end] != '\n') --end;
  if (end == bytes / 2) {
    end = bytes;
    while (end > 0 && isUtf8Continuation(text[end])) --end;
  }
  return text.substr(0, end);
}

/// Lets the template's tokens at the end stay and cuts before them.
void cutToLimit(std::vector<Encoding::Entry>& entries, int64_t limit) {
  const auto count = static_cast<int64_t>(entries.size());
  int64_t after = 0;
  while (after < count && after < limit) {
    const Encoding::Entry& entry = entries[static_cast<size_t>(count - 1 - after)];
    if (!entry.isSpecial || entry.begin != entry.end) break;
    ++after;
  }
  entries.erase(entries.begin() + (limit - after), entries.begin() + (count - after));
}

std::shared_ptr<Prompt> promptOfText(const Tokenizer& tokenizer, std::string_view text, bool withSpecial, int64_t contextLimit, Job& job,
                                     const std::string& limitName) {
  auto prompt = std::make_shared<Prompt>();
  if (!isValidUtf8(text)) {
    prompt->text = repairUtf8(text);
    prompt->notes.push_back("the text is not valid UTF-8: invalid bytes were replaced by U+FFFD");
  } else {
    prompt->text = text;
  }
  Encoding encoding;
  bool isWhole = true;
  const size_t enough =
      contextLimit < 0 ? SIZE_MAX : kTokenizedAnyway + kBytesPerToken * static_cast<size_t>(std::min<int64_t>(contextLimit, 1 << 24));
  if (prompt->text.size() > enough) {
    const std::string_view start = startOf(prompt->text, enough);
    encoding = tokenizer.encode(start, withSpecial, job);
    isWhole = static_cast<int64_t>(encoding.entries.size()) <= contextLimit;
    if (!isWhole) {
      prompt->notes.push_back("prompt has " + std::to_string(prompt->text.size()) + " bytes, " + limitName + " is " +
                              std::to_string(contextLimit) + " tokens: the text beyond them is cut");
      prompt->text.resize(start.size());
    }
  }
  if (isWhole) encoding = tokenizer.encode(prompt->text, withSpecial, job);
  const auto count = static_cast<int64_t>(encoding.entries.size());
  if (contextLimit >= 0 && count > contextLimit) {
    if (isWhole) {
      prompt->notes.push_back("prompt has " + std::to_string(count) + " tokens, " + limitName + " is " + std::to_string(contextLimit) +
                              ": the last " + std::to_string(count - contextLimit) + " are cut");
    }
    cutToLimit(encoding.entries, contextLimit);
  }
  prompt->tokens.reserve(encoding.entries.size());
  for (Encoding::Entry& entry : encoding.entries) {
    if ((prompt->tokens.size() & 0xFFFF) == 0) job.checkpoint();
    Token token;
    token.id = entry.id;
    token.piece = std::move(entry.piece);
    token.bytes = tokenizer.bytesOf(entry.id);
    token.begin = entry.begin;
    token.end = entry.end;
    token.isSpecial = entry.isSpecial;
    prompt->tokens.push_back(std::move(token));
  }
  return prompt;
}

}  // namespace

Token tokenOf(const Tokenizer* tokenizer, int32_t id) {
  Token token;
  token.id = id;
  if (tokenizer == nullptr) return token;
  token.piece = tokenizer->pieceOf(id);
  token.bytes = tokenizer->bytesOf(id);
  token.isSpecial = tokenizer->isSpecial(id);
  return token;
}

std::shared_ptr<const Prompt> promptFromText(const Tokenizer& tokenizer, std::string_view text, bool withSpecial, int64_t contextLimit,
                                             Job& job, const std::string& limitName) {
  return promptOfText(tokenizer, text, withSpecial, contextLimit, job, limitName);
}

std::shared_ptr<const Prompt> promptFromPair(const Tokenizer& tokenizer, std::string_view first, std::string_view second,
                                             int64_t contextLimit, Job& job, const std::string& limitName) {
  auto prompt = promptOfText(tokenizer, first, true, contextLimit, job, limitName);
  if (second.empty()) return prompt;
  const auto other = promptOfText(tokenizer, second, true, contextLimit, job, limitName);
  prompt->notes.insert(prompt->notes.end(), other->notes.begin(), other->notes.end());
  const auto before = static_cast<int64_t>(tokenizer.idsBefore().size());
  for (auto token = other->tokens.begin() + std::min(before, other->count()); token != other->tokens.end(); ++token) {
    token->segment = 1;
    prompt->tokens.push_back(std::move(*token));
  }
  const int64_t beyond = prompt->count() - contextLimit;
  if (contextLimit < 0 || beyond <= 0) return prompt;
  prompt->notes.push_back("both segments have " + std::to_string(prompt->count()) + " tokens, " + limitName + " is " +
                          std::to_string(contextLimit) + ": the last " + std::to_string(beyond) + " are cut");
  // The template's token at the end stays.
  const bool hasEnd = prompt->tokens.back().isSpecial && prompt->tokens.back().begin == prompt->tokens.back().end;
  const auto end = prompt->tokens.end() - (hasEnd ? 1 : 0);
  prompt->tokens.erase(end - std::min<int64_t>(beyond, end - prompt->tokens.begin()), end);
  return prompt;
}

std::shared_ptr<const Prompt> promptFromIds(const Tokenizer* tokenizer, const std::vector<int32_t>& ids,
                                            const std::vector<int32_t>& typeIds) {
  if (!typeIds.empty() && typeIds.size() != ids.size()) {
    throw Error("there are " + std::to_string(ids.size()) + " ids but " + std::to_string(typeIds.size()) + " type ids", "type ids",
                "give one type id for each id, or none");
  }
  auto prompt = std::make_shared<Prompt>();
  prompt->tokens.reserve(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) throw Error("id " + std::to_string(ids[i]) + " at place " + std::to_string(i) + " is negative", "ids");
    prompt->tokens.push_back(tokenOf(tokenizer, ids[i]));
    if (!typeIds.empty()) prompt->tokens.back().segment = typeIds[i];
  }
  return prompt;
}

std::shared_ptr<const Prompt> promptOfRepeatedTokens(const Tokenizer* tokenizer, int64_t vocabularySize, int64_t count, uint64_t seed,
                                                     bool avoidSpecial) {
  if (count < 1 || count > kMostRepeated)
    throw Error("the number of random tokens is out of range (1 to 1,048,576)", std::to_string(count));
  if (vocabularySize < 1 || vocabularySize > INT32_MAX) throw Error("the model has no vocabulary to draw random tokens from");
  std::vector<int32_t> candidates;
  if (tokenizer != nullptr && avoidSpecial) {
    for (int32_t id = 0; id < std::min(vocabularySize, tokenizer->size()); ++id) {
      if (!tokenizer->isSpecial(id) && !tokenizer->pieceOf(id).empty()) candidates.push_back(id);
    }
  }
  uint64_t state = seed;
  const auto next = [&state] {  // SplitMix64
    uint64_t z = state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  };
  std::vector<int32_t> drawn;
  for (int64_t i = 0; i < count; ++i) {
    drawn.push_back(candidates.empty() ? static_cast<int32_t>(next() % static_cast<uint64_t>(vocabularySize))
                                       : candidates[next() % candidates.size()]);
  }
  std::vector<int32_t> ids;
  if (tokenizer != nullptr) {
    for (const int32_t id : tokenizer->idsBefore()) {
      if (id < vocabularySize) ids.push_back(id);
    }
  }
  ids.insert(ids.end(), drawn.begin(), drawn.end());
  ids.insert(ids.end(), drawn.begin(), drawn.end());
  return promptFromIds(tokenizer, ids, {});
}

}  // namespace headscope::core
