#pragma once
// Tokenizer: text to ids and back, exactly as Hugging Face's tokenizers package does with the same tokenizer.json.
//
// Opens tokenizer.json, or vocab.json + merges.txt (GPT-2), or vocab.txt (WordPiece). Immutable and thread-safe.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/job.h"

namespace headscope::core {

struct Encoding {
  struct Entry {
    int32_t id;
    std::string piece;   // vocabulary entry as stored; for an added token the text that it took (with stripped spaces)
    int64_t begin, end;  // offsets in code points of the text, half-open; 0, 0 for tokens the template added
    bool isSpecial;
  };
  std::vector<Entry> entries;
};

class Tokenizer {
 public:
  /// Throws Error: no tokenizer in the folder (says what is there and what to do), anything in the files that is not
  /// supported or not valid (file and field named).
  static std::shared_ptr<const Tokenizer> open(const std::filesystem::path& folder);
  /// From the text of a tokenizer.json; `where` names it in errors. Throws Error as open does.
  static std::shared_ptr<const Tokenizer> fromJson(std::string_view json, const std::string& where);
  virtual ~Tokenizer() = default;

  /// text must be UTF-8; invalid bytes are replaced by U+FFFD first (offsets then count replaced characters).
  /// withSpecial: add what the post-processor's template adds.
  virtual Encoding encode(std::string_view text, bool withSpecial, Job& job) const = 0;
  /// decode(ids, skip_special_tokens=False).
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;
  /// The raw bytes that one id stands for in running text ("Ġthe" -> " the", "<0xE2>" -> "\xE2"); for the token strip.
  virtual std::string bytesOf(int32_t id) const = 0;
  /// Vocabulary entry as stored, "" when the id is unknown.
  virtual std::string pieceOf(int32_t id) const = 0;
  /// -1 when absent.
  virtual int32_t idOf(std::string_view piece) const = 0;
  virtual bool isSpecial(int32_t id) const = 0;
  /// Largest id + 1.
  virtual int64_t size() const = 0;
  /// The ids that the template puts before a text ("<s>", "[CLS]"); empty when there is none.
  virtual std::vector<int32_t> idsBefore() const = 0;
};

}  // namespace headscope::core
