#include "core/tokenizer/bpe_model.h"

#include <algorithm>
#include <bit>

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

constexpr uint64_t kFree = UINT64_MAX;
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // ▁
constexpr size_t kMostCacheLines = 1 << 14;              // a power of two
constexpr size_t kLongestCached = 64;
constexpr size_t kShortWord = 24;  // symbols up to which a scan beats the queue

uint64_t pairOf(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t mix(uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15ull;
  return static_cast<size_t>(pair ^ pair >> 31);
}

std::string quoted(std::string_view piece) { return "\"" + std::string(piece.substr(0, 60)) + "\""; }

}  // namespace

struct BpeModel::BpeScratch final : TokenModel::Scratch {
  struct Line {
    uint64_t hash = 0;
    std::string word;
    std::vector<ModelToken> tokens;
  };
  std::vector<Line> lines;
  std::vector<Symbol> symbols;
  std::vector<QueueEntry> queue;
  std::vector<const Merge*> best;
};

BpeModel::BpeModel(Vocabulary vocabulary, const std::vector<std::pair<std::string_view, std::string_view>>& merges, BpeOptions options,
                   const std::string& where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), where_(where) {
  size_t size = 16;
  while (size < merges.size() * 2 + 2) size *= 2;
  merges_.assign(size, Merge{kFree, 0, 0});
  const size_t prefix = options_.continuingPrefix.size();
  std::string joined;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view left = merges[rank].first, right = merges[rank].second;
    const auto fail = [&](const std::string& what) {
      throw Error("merge " + std::to_string(rank) + " (" + quoted(left) + " " + quoted(right) + ") " + what, where_);
    };
    const int32_t leftId = vocabulary_.idOf(left), rightId = vocabulary_.idOf(right);
    if (leftId < 0) fail("needs " + quoted(left) + ", which is not in the vocabulary");
    if (rightId < 0) fail("needs " + quoted(right) + ", which is not in the vocabulary");
    if (right.size() < prefix) fail("has a right part shorter than continuing_subword_prefix");
    joined.assign(left);
    joined += right.substr(prefix);
    const int32_t id = vocabulary_.idOf(joined);
    if (id < 0) fail("makes " + quoted(joined) + ", which is not in the vocabulary");
    if (id == leftId || id == rightId) fail("is cyclic: it makes one of its own parts");
    addMerge(pairOf(leftId, rightId), static_cast<uint32_t>(rank), id);
  }
  static constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    byteIds_[static_cast<size_t>(byte)] = vocabulary_.idOf(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">");
  }
  for (int letter = 0; letter < 128; ++letter)
    asciiIds_[static_cast<size_t>(letter)] = vocabulary_.idOf(std::string(1, static_cast<char>(letter)));
  findSafeCuts(merges);
}

void BpeModel::addMerge(uint64_t pair, uint32_t rank, int32_t id) {
  const size_t mask = merges_.size() - 1;
  size_t slot = mix(pair) & mask;
  while (merges_[slot].pair != kFree && merges_[slot].pair != pair) slot = (slot + 1) & mask;
  merges_[slot] = {pair, rank, id};
}

const BpeModel::Merge* BpeModel::mergeOf(int32_t left, int32_t right) const {
  const uint64_t pair = pairOf(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t slot = mix(pair) & mask;; slot = (slot + 1) & mask) {
    if (merges_[slot].pair == pair) return &merges_[slot];
    if (merges_[slot].pair == kFree) return nullptr;
  }
}

/// A merge that spans "x▁" joins a part that ends in x to one that starts with ▁. Where no merge does, cutting there changes
/// nothing, as long as x is a symbol of its own (unknown characters may wait to be fused).
void BpeModel::findSafeCuts(const std::vector<std::pair<std::string_view, std::string_view>>& merges) {
  isCutAfterAscii_.fill(false);
  // Without an unknown token characters may be dropped, and the rest of the word moves up: its offsets need the whole word.
  const bool dropsCharacters =
      !options_.hasUnknown && !(options_.byteFallback && std::all_of(byteIds_.begin(), byteIds_.end(), [](int32_t id) { return id >= 0; }));
  canCut_ = !dropsCharacters && options_.continuingPrefix.empty() && options_.endOfWordSuffix.empty() && vocabulary_.idOf(kSpaceMark) >= 0;
  if (!canCut_) return;
  for (size_t letter = 0; letter < 128; ++letter) isCutAfterAscii_[letter] = asciiIds_[letter] >= 0;
  for (const auto& [left, right] : merges) {
    if (!left.empty() && right.starts_with(kSpaceMark) && static_cast<uint8_t>(left.back()) < 0x80) {
      isCutAfterAscii_[static_cast<size_t>(left.back())] = false;
    }
  }
}

std::unique_ptr<TokenModel::Scratch> BpeModel::makeScratch(size_t textBytes) const {
  auto scratch = std::make_unique<BpeScratch>();
  scratch->lines.resize(std::clamp<size_t>(std::bit_floor(textBytes / 8 + 1), 16, kMostCacheLines));
  return scratch;
}

void BpeModel::tokenize(std::string_view word, Scratch& scratch, Job& job, std::vector<ModelToken>& out) const {
  if (word.empty()) return;
  auto& own = static_cast<BpeScratch&>(scratch);
  if (options_.ignoreMerges) {
    const int32_t id = vocabulary_.idOf(word);
    if (id >= 0) {
      out.push_back({id, 0, static_cast<uint32_t>(word.size())});
      return;
    }
  }
  size_t done = 0;
  if (canCut_ && word.size() > 8) {
    for (size_t at = word.find(kSpaceMark, 1); at != std::string_view::npos; at = word.find(kSpaceMark, at + kSpaceMark.size())) {
      const auto before = static_cast<uint8_t>(word[at - 1]);
      if (before >= 0x80 || !isCutAfterAscii_[before]) continue;
      const size_t first = out.size();
      tokenizeCached(word.substr(done, at - done), own, job, out);
      for (size_t i = first; i < out.size() && done > 0; ++i) {
        out[i].begin += static_cast<uint32_t>(done);
        out[i].end += static_cast<uint32_t>(done);
      }
      done = at;
      if ((out.size() & 1023) == 0) job.checkpoint();
    }
  }
  const size_t first = out.size();
  tokenizeCached(word.substr(done), own, job, out);
  for (size_t i = first; i < out.size() && done > 0; ++i) {
    out[i].begin += static_cast<uint32_t>(done);
    out[i].end += static_cast<uint32_t>(done);
  }
}

void BpeModel::tokenizeCached(std::string_view word, BpeScratch& scratch, Job& job, std::vector<ModelToken>& out) const {
  const bool isCached = word.size() <= kLongestCached;
  const uint64_t hash = isCached ? hashOf(word) : 0;
  BpeScratch::Line& line = scratch.lines[hash & (scratch.lines.size() - 1)];
  if (isCached && line.hash == hash && line.word == word) {
    out.insert(out.end(), line.tokens.begin(), line.tokens.end());
    return;
  }
  spell(word, scratch);
  if (scratch.symbols.size() <= kShortWord) {
    mergeShort(scratch);
  } else {
    mergeLong(scratch, job);
  }
  const size_t first = out.size();
  uint32_t at = 0;
  for (const Symbol& symbol : scratch.symbols) {
    if (symbol.length == 0) continue;
    out.push_back({symbol.id, at, at + symbol.length});
    at += symbol.length;
  }
  if (!isCached) return;
  line.hash = hash;
  line.word = word;
  line.tokens.assign(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
}

int32_t BpeModel::unknownId() const {
  const int32_t id = vocabulary_.idOf(options_.unknownToken);
  if (id < 0)
    throw Error("the text has a character that is not in the vocabulary, and neither is unk_token " + quoted(options_.unknownToken),
                where_);
  return id;
}

/// The word's characters as symbols, unknown ones as bytes or as the unknown token.
void BpeModel::spell(std::string_view word, BpeScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  const auto add = [&](int32_t id, uint32_t length) {
    const auto index = static_cast<int32_t>(symbols.size());
    if (index > 0) symbols.back().next = index;
    symbols.push_back({id, index - 1, -1, length});
  };
  int32_t waitingId = -1;  // an unknown token that may still grow
  uint32_t waitingLength = 0;
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const uint32_t length = utf8Length(word[at]);
    std::string_view piece = word.substr(at, length);
    const bool isFirst = at == 0, isLast = at + length >= word.size();
    at += length;
    if ((!isFirst && !options_.continuingPrefix.empty()) || (isLast && !options_.endOfWordSuffix.empty())) {
      decorated =
          (isFirst ? std::string() : options_.continuingPrefix) + std::string(piece) + (isLast ? options_.endOfWordSuffix : std::string());
      piece = decorated;
    }
    const int32_t id =
        piece.size() == 1 && static_cast<uint8_t>(piece[0]) < 0x80 ? asciiIds_[static_cast<size_t>(piece[0])] : vocabulary_.idOf(piece);
    if (id >= 0) {
      if (waitingId >= 0) add(waitingId, waitingLength);
      waitingId = -1;
      add(id, length);
      continue;
    }
    if (options_.byteFallback && std::all_of(piece.begin(), piece.end(), [&](char c) { return byteIds_[static_cast<uint8_t>(c)] >= 0; })) {
      for (const char c : piece) add(byteIds_[static_cast<uint8_t>(c)], 1);
      continue;
    }
    if (!options_.hasUnknown) continue;  // the character is dropped, as the reference does
    if (waitingId >= 0 && options_.fuseUnknown) {
      waitingLength += length;
    } else {
      if (waitingId >= 0) add(waitingId, waitingLength);
      waitingId = unknownId();
      waitingLength = length;
    }
  }
  if (waitingId >= 0) add(waitingId, waitingLength);
}

/// Scans for the best pair again and again: the fewest steps for short words.
void BpeModel::mergeShort(BpeScratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<const Merge*>& pairs = scratch.best;
  pairs.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) pairs.push_back(mergeOf(symbols[i].id, symbols[i + 1].id));
  while (!pairs.empty()) {
    size_t best = pairs.size();
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (pairs[i] != nullptr && (best == pairs.size() || pairs[i]->rank < pairs[best]->rank)) best = i;
    }
    if (best == pairs.size()) break;
    symbols[best].id = pairs[best]->id;
    symbols[best].length += symbols[best + 1].length;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(best));
    if (best > 0) pairs[best - 1] = mergeOf(symbols[best - 1].id, symbols[best].id);
    if (best < pairs.size()) pairs[best] = mergeOf(symbols[best].id, symbols[best + 1].id);
  }
}

void BpeModel::mergeLong(BpeScratch& scratch, Job& job) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<QueueEntry>& queue = scratch.queue;
  const auto isLater = [](const QueueEntry& a, const QueueEntry& b) { return a.rank != b.rank ? a.rank > b.rank : a.at > b.at; };
  const auto consider = [&](int32_t left, int32_t right) {
    const Merge* merge = mergeOf(symbols[static_cast<size_t>(left)].id, symbols[static_cast<size_t>(right)].id);
    if (merge != nullptr) queue.push_back({merge->rank, left, merge->id});
    return merge != nullptr;
  };
  queue.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    consider(static_cast<int32_t>(i), static_cast<int32_t>(i) + 1);
    if ((i & 0xFFFF) == 0) job.checkpoint();
  }
  std::make_heap(queue.begin(), queue.end(), isLater);
  for (size_t step = 1; !queue.empty(); ++step) {
    if ((step & 0xFFFF) == 0) job.checkpoint();
    std::pop_heap(queue.begin(), queue.end(), isLater);
    const QueueEntry top = queue.back();
    queue.pop_back();
    Symbol& left = symbols[static_cast<size_t>(top.at)];
    if (left.length == 0 || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    const Merge* merge = mergeOf(left.id, right.id);
    if (merge == nullptr || merge->id != top.id) continue;  // a neighbour has changed since
    left.id = top.id;
    left.length += right.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.at;
    if (left.previous >= 0 && consider(left.previous, top.at)) std::push_heap(queue.begin(), queue.end(), isLater);
    if (left.next >= 0 && consider(top.at, left.next)) std::push_heap(queue.begin(), queue.end(), isLater);
  }
}

}  // namespace headscope::core
