#pragma once
// TokenizerPipeline: the Tokenizer that is put together from a TokenizerDocument: added tokens, normalizer, pre-tokenizer,
// model, post-processor, decoder.
//
// The document's truncation and padding are left aside, as transformers does unless asked: a prompt is what was typed.
// BPE dropout is left aside too: it is for training.
#include "core/tokenizer/added_tokens.h"
#include "core/tokenizer/decoder.h"
#include "core/tokenizer/normalizer.h"
#include "core/tokenizer/post_processor.h"
#include "core/tokenizer/pre_tokenizer.h"
#include "core/tokenizer/token_model.h"
#include "core/tokenizer/tokenizer.h"
#include "core/tokenizer/tokenizer_json.h"

namespace headscope::core {

class TokenizerPipeline final : public Tokenizer {
 public:
  /// Throws Error naming `where` and the field for what is broken or not supported.
  TokenizerPipeline(TokenizerDocument document, const std::string& where);

  Encoding encode(std::string_view text, bool withSpecial, Job& job) const override;
  std::string decode(const std::vector<int32_t>& ids) const override;
  std::string bytesOf(int32_t id) const override;
  std::string pieceOf(int32_t id) const override;
  int32_t idOf(std::string_view piece) const override;
  bool isSpecial(int32_t id) const override;
  int64_t size() const override;
  std::vector<int32_t> idsBefore() const override;

 private:
  void appendEntries(const TrackedText& text, std::string_view original, Job& job, std::vector<Encoding::Entry>& entries) const;

  std::unique_ptr<const Normalizer> normalizer_;
  std::unique_ptr<const PreTokenizer> preTokenizer_;
  std::unique_ptr<const TokenModel> model_;
  std::unique_ptr<const PostProcessor> postProcessor_;
  std::unique_ptr<const Decoder> decoder_;
  std::unique_ptr<const AddedTokens> added_;
};

}  // namespace headscope::core
