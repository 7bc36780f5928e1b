#pragma once
// TokenModel: the part of a tokenizer that turns one word (a split of the pre-tokenizer) into ids: BPE, WordPiece, WordLevel.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/job.h"
#include "core/tokenizer/vocabulary.h"

namespace headscope::core {

struct ModelToken {
  int32_t id;
  uint32_t begin, end;  // bytes of the word
};

class TokenModel {
 public:
  /// Working memory of one run over a text; belongs to one thread.
  class Scratch {
   public:
    virtual ~Scratch() = default;
  };

  virtual ~TokenModel() = default;
  /// textBytes: of the whole text, which bounds what is worth remembering.
  virtual std::unique_ptr<Scratch> makeScratch(size_t textBytes) const = 0;
  /// Appends the tokens of word, which is valid UTF-8. Throws Error where the vocabulary lacks what the model needs.
  virtual void tokenize(std::string_view word, Scratch& scratch, Job& job, std::vector<ModelToken>& out) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
};

}  // namespace headscope::core
