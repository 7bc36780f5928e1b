#pragma once
// TrackedText: a text on its way through a tokenizer: cut into splits, changed, and every byte still knows which bytes of the
// original it came from. NormalText is one such stretch while normalizers change it.
//
// The rules of alignment are those of the tokenizers package: a changed character keeps the place of the one it replaces, an
// inserted one shares the place of the one before it, a removed one leaves nothing. Costs 9 bytes of memory a byte of text,
// twice that while a stage rewrites it.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/job.h"

namespace headscope::core {

/// Bytes of the original text, half-open.
struct Origin {
  uint32_t begin, end;
};

struct NormalText {
  std::string text;
  std::vector<Origin> origin;  // [text.size()]
  Origin whole;                // the stretch of the original that this was cut from

  /// One step of a transformation: c replaces the next character (change 0), is inserted (1), or replaces the next character
  /// while the -change after it are removed (< 0).
  struct Change {
    char32_t c;
    int64_t change;
  };
  /// Rewrites the whole text; the first `removedAtStart` characters go.
  void transform(std::span<const Change> changes, size_t removedAtStart);
  /// Keeps the characters for which keep is true.
  void filter(const std::function<bool(char32_t)>& keep);
  /// Puts prefix before the first character; nothing happens to an empty text.
  void prepend(std::string_view prefix);
  void append(std::string_view suffix);
};

struct TextSplit {
  size_t begin, end;     // bytes of the current text
  Origin whole;          // the stretch of the original that it was cut from
  int32_t tokenId = -1;  // >= 0: an added token, final
};

class TrackedText {
 public:
  /// text is valid UTF-8 of less than 4 GiB.
  explicit TrackedText(std::string_view text);

  std::string_view textOf(const TextSplit& split) const { return std::string_view(text_).substr(split.begin, split.end - split.begin); }
  std::span<const Origin> originOf(const TextSplit& split) const {
    return std::span<const Origin>(origin_).subspan(split.begin, split.end - split.begin);
  }
  const std::vector<TextSplit>& splits() const { return splits_; }

  /// Cuts every split that is not a token: cut(text, emit) calls emit(begin, end, tokenId) for the parts that stay; empty
  /// ones are dropped.
  using Emit = std::function<void(size_t begin, size_t end, int32_t tokenId)>;
  void cut(Job& job, const std::function<void(std::string_view text, const Emit& emit)>& cutter);
  /// Rewrites every split that is not a token.
  void rewrite(Job& job, const std::function<void(NormalText&)>& change);
  /// Rewrites every split that is not a token, character by character: append(out, character) adds what replaces it, which
  /// keeps its place. Cheaper than rewrite.
  void mapCharacters(Job& job, const std::function<void(std::string& out, std::string_view character)>& append);

 private:
  std::string text_;
  std::vector<Origin> origin_;
  std::vector<TextSplit> splits_;
};

}  // namespace headscope::core
