#include "core/tokenizer/vocabulary.h"

#include <cstring>

#include "core/base/error.h"

namespace headscope::core {

uint64_t hashOf(std::string_view text) {
  constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;
  uint64_t hash = text.size() * kMix;
  const char* p = text.data();
  size_t left = text.size();
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    hash = (hash ^ word) * kMix;
    hash ^= hash >> 32;
  }
  uint64_t word = 0;
  if (left > 0) std::memcpy(&word, p, left);
  hash = (hash ^ word) * kMix;
  return hash ^ hash >> 29;
}

size_t Vocabulary::slotOf(std::string_view piece, uint32_t hash) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const Slot& there = slots_[slot];
    if (there.index < 0) return slot;
    if (there.hash == hash && textOf(entries_[static_cast<size_t>(there.index)]) == piece) return slot;
  }
}

void Vocabulary::grow() {
  const size_t size = slots_.empty() ? 1024 : slots_.size() * 2;
  std::vector<Slot> larger(size, Slot{0, -1});
  for (const Slot& old : slots_) {
    if (old.index < 0) continue;
    size_t slot = old.hash & (size - 1);
    while (larger[slot].index >= 0) slot = (slot + 1) & (size - 1);
    larger[slot] = old;
  }
  slots_ = std::move(larger);
}

void Vocabulary::add(std::string_view piece, int64_t id, const std::string& where) {
  if (id < 0 || id > kLargestId) {
    throw Error("the id " + std::to_string(id) + " is out of range (0 to 16,777,215)", where, "the file is damaged or no vocabulary");
  }
  if (arena_.size() + piece.size() > UINT32_MAX) throw Error("the vocabulary holds more than 4 GiB of text", where);
  if ((entries_.size() + 1) * 2 > slots_.size()) grow();
  const auto hash = static_cast<uint32_t>(hashOf(piece));
  const size_t slot = slotOf(piece, hash);
  int32_t index = slots_[slot].index;
  if (index < 0) {
    index = static_cast<int32_t>(entries_.size());
    slots_[slot] = {hash, index};
    entries_.push_back({static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(piece.size()), static_cast<int32_t>(id)});
    arena_ += piece;
  } else {
    const int32_t old = entries_[static_cast<size_t>(index)].id;
    if (byId_[static_cast<size_t>(old)] == index) byId_[static_cast<size_t>(old)] = -1;
    entries_[static_cast<size_t>(index)].id = static_cast<int32_t>(id);
  }
  if (static_cast<size_t>(id) >= byId_.size()) byId_.resize(static_cast<size_t>(id) + 1, -1);
  byId_[static_cast<size_t>(id)] = index;
}

int32_t Vocabulary::idOf(std::string_view piece) const {
  if (slots_.empty()) return -1;
  const int32_t index = slots_[slotOf(piece, static_cast<uint32_t>(hashOf(piece)))].index;
  return index < 0 ? -1 : entries_[static_cast<size_t>(index)].id;
}

std::string_view Vocabulary::pieceOf(int32_t id) const {
  if (!hasId(id)) return {};
  return textOf(entries_[static_cast<size_t>(byId_[static_cast<size_t>(id)])]);
}

}  // namespace headscope::core
