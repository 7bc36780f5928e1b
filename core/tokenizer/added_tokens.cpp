#include "core/tokenizer/added_tokens.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

constexpr size_t kLongestContent = 4096;

bool endsWithWord(std::string_view text) { return !text.empty() && isWordCharacter(lastCodePoint(text)); }
bool startsWithWord(std::string_view text) { return !text.empty() && isWordCharacter(firstCodePoint(text)); }

/// Where the white space at the end of text starts.
size_t spaceAtEnd(std::string_view text) {
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && isUtf8Continuation(text[at])) --at;
    if (!isWhitespace(decodeUtf8(text, at).value)) break;
    text = text.substr(0, at);
  }
  return text.size();
}

/// Length of the white space at the start of text.
size_t spaceAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const DecodedChar c = decodeUtf8(text, at);
    if (!isWhitespace(c.value)) break;
    at += c.length;
  }
  return at;
}

}  // namespace

void AddedTokens::Trie::add(std::string_view pattern, int32_t id) {
  if (pattern.empty()) return;
  isStart_[static_cast<uint8_t>(pattern[0])] = true;
  uint32_t node = 0;
  for (const char c : pattern) {
    const auto byte = static_cast<uint8_t>(c);
    auto& children = nodes_[node].children;
    const auto found =
        std::lower_bound(children.begin(), children.end(), byte, [](const auto& child, uint8_t b) { return child.first < b; });
    if (found != children.end() && found->first == byte) {
      node = found->second;
      continue;
    }
    const auto added = static_cast<uint32_t>(nodes_.size());
    children.insert(found, {byte, added});
    nodes_.emplace_back();
    node = added;
  }
  if (nodes_[node].id < 0) nodes_[node].id = id;  // the first of equal patterns counts
}

size_t AddedTokens::Trie::longestAt(std::string_view text, size_t at, int32_t& id) const {
  if (!isStart_[static_cast<uint8_t>(text[at])]) return 0;
  size_t longest = 0;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto& children = nodes_[node].children;
    const auto found =
        std::lower_bound(children.begin(), children.end(), byte, [](const auto& child, uint8_t b) { return child.first < b; });
    if (found == children.end() || found->first != byte) break;
    node = found->second;
    if (nodes_[node].id >= 0) {
      longest = i + 1 - at;
      id = nodes_[node].id;
    }
  }
  return longest;
}

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary, const Normalizer* normalizer,
                         const std::string& where) {
  std::vector<const AddedToken*> special, classic;
  std::unordered_map<std::string, std::vector<const AddedToken*>> seen;
  int64_t largest = -1;
  for (const AddedToken& token : tokens) {
    if (token.content.size() > kLongestContent) throw Error("an added token is longer than 4,096 bytes", where);
    if (token.isSpecial && !token.content.empty() && special_.insert(token.content).second) special.push_back(&token);
  }
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    auto& same = seen[token.content];
    if (std::any_of(same.begin(), same.end(), [&](const AddedToken* other) { return *other == token; })) continue;
    same.push_back(&token);
    int64_t id = idOf(token.content);
    if (id < 0) id = vocabulary.idOf(token.content);
    if (id < 0) id = largest >= vocabulary.count() || (vocabulary.count() == 0 && largest >= 0) ? largest + 1 : vocabulary.count();
    if (id > Vocabulary::kLargestId) throw Error("there are too many added tokens", where);
    largest = std::max(largest, id);
    ids_[token.content] = static_cast<int32_t>(id);
    byId_[static_cast<int32_t>(id)] = token;
    if (!special_.contains(token.content)) classic.push_back(&token);
  }
  idBound_ = largest + 1;
  special.insert(special.end(), classic.begin(), classic.end());
  Job job;
  for (const AddedToken* token : special) {
    const int32_t id = idOf(token->content);
    if (!token->isNormalized) {
      plain_.add(token->content, id);
      spelling_[id] = token->content;
      continue;
    }
    NormalText content{token->content, std::vector<Origin>(token->content.size()), {0, static_cast<uint32_t>(token->content.size())}};
    if (normalizer != nullptr) normalizer->apply(content, job);
    normalized_.add(content.text, id);
    spelling_[id] = std::move(content.text);
  }
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = byId_.find(id);
  return found == byId_.end() ? nullptr : &found->second;
}

std::string_view AddedTokens::spellingOf(int32_t id) const {
  const auto found = spelling_.find(id);
  return found == spelling_.end() ? std::string_view() : found->second;
}

int32_t AddedTokens::idOf(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  return found == ids_.end() ? -1 : found->second;
}

void AddedTokens::cutAt(const Trie& trie, std::string_view text, const TrackedText::Emit& emit, Job& job) const {
  if (trie.isEmpty()) return emit(0, text.size(), -1);
  size_t done = 0, untilCheck = 4096;
  for (size_t at = 0; at < text.size();) {
    if (--untilCheck == 0) {
      job.checkpoint();
      untilCheck = 4096;
    }
    int32_t id = -1;
    const size_t length = trie.longestAt(text, at, id);
    if (length == 0) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + length;
    at = end;
    const AddedToken& token = byId_.at(id);
    if (token.isSingleWord && (endsWithWord(text.substr(0, begin)) || startsWithWord(text.substr(end)))) continue;
    if (token.stripsLeft) begin = std::max(spaceAtEnd(text.substr(0, begin)), done);
    if (token.stripsRight) end += spaceAtStart(text.substr(end));
    if (done < begin) emit(done, begin, -1);
    emit(begin, end, id);
    done = end;
  }
  if (done < text.size()) emit(done, text.size(), -1);
}

void AddedTokens::apply(TrackedText& text, const Normalizer* normalizer, Job& job) const {
  text.cut(job, [&](std::string_view split, const TrackedText::Emit& emit) { cutAt(plain_, split, emit, job); });
  if (normalizer != nullptr) {
    text.rewrite(job, [&](NormalText& part) { normalizer->apply(part, job); });
  }
  text.cut(job, [&](std::string_view split, const TrackedText::Emit& emit) { cutAt(normalized_, split, emit, job); });
}

}  // namespace headscope::core
