#pragma once
// WordPieceModel and WordLevelModel: words by longest known prefix, or whole.
#include <string>

#include "core/tokenizer/token_model.h"

namespace headscope::core {

/// Greedy longest match from the left; pieces inside a word carry a prefix ("##"). A word with a part that matches nothing, or
/// with too many characters, is one unknown token.
class WordPieceModel final : public TokenModel {
 public:
  WordPieceModel(Vocabulary vocabulary, std::string unknownToken, std::string continuingPrefix, int64_t longestWord,
                 const std::string& where);
  std::unique_ptr<Scratch> makeScratch(size_t) const override { return std::make_unique<Scratch>(); }
  void tokenize(std::string_view word, Scratch& scratch, Job& job, std::vector<ModelToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  int32_t unknownId() const;

  Vocabulary vocabulary_;
  std::string unknownToken_, continuingPrefix_, where_;
  int64_t longestWord_;      // characters
  size_t longestPiece_ = 0;  // bytes
};

class WordLevelModel final : public TokenModel {
 public:
  WordLevelModel(Vocabulary vocabulary, std::string unknownToken, const std::string& where);
  std::unique_ptr<Scratch> makeScratch(size_t) const override { return std::make_unique<Scratch>(); }
  void tokenize(std::string_view word, Scratch& scratch, Job& job, std::vector<ModelToken>& out) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::string unknownToken_, where_;
};

}  // namespace headscope::core
