#pragma once
// AddedTokens: pieces that are found in the text before anything else and are never cut: special tokens and additions of users.
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/tracked_text.h"
#include "core/tokenizer/vocabulary.h"

namespace headscope::core {

struct AddedToken {
  std::string content;
  bool isSingleWord = false;  // only where no word character is next to it
  bool stripsLeft = false;    // takes the white space before it along
  bool stripsRight = false;   // and after it
  bool isNormalized = true;   // searched in the normalized text, itself normalized
  bool isSpecial = false;

  bool operator==(const AddedToken&) const = default;
};

class AddedTokens {
 public:
  /// Numbers the tokens as the reference does: an entry of the vocabulary keeps its id, others get the next free one.
  /// Throws Error naming `where` for tokens longer than 4,096 bytes.
  AddedTokens(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary, const Normalizer* normalizer, const std::string& where);

  /// Cuts the text at the tokens and normalizes what lies between.
  void apply(TrackedText& text, const Normalizer* normalizer, Job& job) const;

  const AddedToken* find(int32_t id) const;
  /// What the token is written as when decoded: its content, normalized where it is searched so. "" when it is none of them.
  std::string_view spellingOf(int32_t id) const;
  /// -1 when it is none of them.
  int32_t idOf(std::string_view content) const;
  bool isSpecial(std::string_view content) const { return special_.contains(std::string(content)); }
  /// Largest id + 1, 0 when there are none.
  int64_t idBound() const { return idBound_; }

 private:
  /// Leftmost-longest search for a set of patterns.
  class Trie {
   public:
    void add(std::string_view pattern, int32_t id);
    bool isEmpty() const { return nodes_.size() == 1; }
    /// Length of the longest pattern that starts at text[at], 0 for none.
    size_t longestAt(std::string_view text, size_t at, int32_t& id) const;

   private:
    struct Node {
      std::vector<std::pair<uint8_t, uint32_t>> children;
      int32_t id = -1;
    };
    std::vector<Node> nodes_{Node{}};
    bool isStart_[256] = {};
  };

  void cutAt(const Trie& trie, std::string_view text, const TrackedText::Emit& emit, Job& job) const;

  std::unordered_map<int32_t, AddedToken> byId_;
  std::unordered_map<int32_t, std::string> spelling_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<std::string> special_;
  Trie plain_, normalized_;
  int64_t idBound_ = 0;
};

}  // namespace headscope::core
