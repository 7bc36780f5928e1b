#pragma once
// BpeModel: byte-pair encoding: a word starts as its characters, and the pair with the lowest merge rank is joined (leftmost
// first) until no pair has a merge.
//
// Merging takes a priority queue over a linked list, O(n log n) in the length of the word, also for a megabyte of one letter.
// Words seen before come from a table in the Scratch. Merges that can't cross a place where "▁" starts let long texts without a
// pre-tokenizer be cut there without changing the outcome (proved from the merges at loading).
#include <array>
#include <optional>
#include <string>

#include "core/tokenizer/token_model.h"

namespace headscope::core {

struct BpeOptions {
  std::string unknownToken;  // "" when hasUnknown is false
  bool hasUnknown = false;
  std::string continuingPrefix;  // before every character but a word's first ("")
  std::string endOfWordSuffix;   // after a word's last character ("")
  bool fuseUnknown = false;      // neighbouring unknown characters become one token
  bool byteFallback = false;     // unknown characters become <0x00> ... <0xFF> where all of these are in the vocabulary
  bool ignoreMerges = false;     // a word that is in the vocabulary is taken whole
};

class BpeModel final : public TokenModel {
 public:
  /// merges: pairs of pieces by rank. Throws Error naming `where` and the merge for pieces that are not in the vocabulary and
  /// for cyclic merges (the outcome is one of the parts). A pair that is listed twice has its last rank.
  BpeModel(Vocabulary vocabulary, const std::vector<std::pair<std::string_view, std::string_view>>& merges, BpeOptions options,
           const std::string& where);

  std::unique_ptr<Scratch> makeScratch(size_t textBytes) const override;
  void tokenize(std::string_view word, Scratch& scratch, Job& job, std::vector<ModelToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  const BpeOptions& options() const { return options_; }

 private:
  struct Merge {
    uint64_t pair;  // left id << 32 | right id; kFree: empty slot
    uint32_t rank;
    int32_t id;
  };
  struct Symbol {
    int32_t id;
    int32_t previous, next;
    uint32_t length;  // bytes of the word; 0: merged away
  };
  struct QueueEntry {
    uint32_t rank;
    int32_t at;
    int32_t id;
  };
  struct BpeScratch;

  void addMerge(uint64_t pair, uint32_t rank, int32_t id);
  const Merge* mergeOf(int32_t left, int32_t right) const;
  void findSafeCuts(const std::vector<std::pair<std::string_view, std::string_view>>& merges);
  void tokenizeCached(std::string_view word, BpeScratch& scratch, Job& job, std::vector<ModelToken>& out) const;
  void spell(std::string_view word, BpeScratch& scratch) const;
  void mergeShort(BpeScratch& scratch) const;
  void mergeLong(BpeScratch& scratch, Job& job) const;
  int32_t unknownId() const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::string where_;
  std::vector<Merge> merges_;              // open addressing, size a power of two
  std::array<int32_t, 256> byteIds_;       // of <0x00> ... <0xFF>, -1 when absent
  std::array<int32_t, 128> asciiIds_;      // of one-letter pieces
  std::array<bool, 128> isCutAfterAscii_;  // "▁" after this letter starts a part of its own
  bool canCut_ = false;
};

}  // namespace headscope::core
