#pragma once
// Vocabulary: pieces and ids of a tokenizer's model: an arena of text and an open hash table, since a quarter of a million
// entries have to be read in a fraction of a second.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headscope::core {

class Vocabulary {
 public:
  /// Ids above this are refused: a table of that many entries is no longer a vocabulary.
  static constexpr int64_t kLargestId = (int64_t{1} << 24) - 1;

  /// A later entry with the same piece takes its place. Throws Error naming `where` for an id out of range.
  void add(std::string_view piece, int64_t id, const std::string& where);
  /// -1 when absent.
  int32_t idOf(std::string_view piece) const;
  /// "" when absent.
  std::string_view pieceOf(int32_t id) const;
  bool hasId(int32_t id) const { return id >= 0 && static_cast<size_t>(id) < byId_.size() && byId_[static_cast<size_t>(id)] >= 0; }
  /// Number of different pieces.
  int64_t count() const { return static_cast<int64_t>(entries_.size()); }
  /// Largest id + 1.
  int64_t idBound() const { return static_cast<int64_t>(byId_.size()); }

 private:
  struct Entry {
    uint32_t at, length;
    int32_t id;
  };
  struct Slot {
    uint32_t hash;
    int32_t index;  // into entries_, -1: free
  };
  std::string_view textOf(const Entry& entry) const { return std::string_view(arena_).substr(entry.at, entry.length); }
  size_t slotOf(std::string_view piece, uint32_t hash) const;
  void grow();

  std::string arena_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;    // size is a power of two, at most half full
  std::vector<int32_t> byId_;  // index into entries_, -1: no such id
};

/// A mixing hash of a short text.
uint64_t hashOf(std::string_view text);

}  // namespace headscope::core
