#include "core/tokenizer/tokenizer_pipeline.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/bpe_model.h"
#include "core/tokenizer/unicode.h"
#include "core/tokenizer/word_models.h"

namespace headscope::core {
namespace {

constexpr size_t kLongestText = size_t{1} << 30;

/// A member of the document, null (and put there) when it is absent.
JsonField optional(nlohmann::json& root, const char* name, const std::string& where) { return {root[name], where + ": " + name}; }

std::string modelType(const JsonField& model, bool hasMerges) {
  if (model.has("type")) return model.at("type").string();
  if (hasMerges) return "BPE";  // older files don't name the type
  return model.has("max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

std::unique_ptr<const TokenModel> makeModel(TokenizerDocument& document, const std::string& where) {
  const JsonField model = optional(document.rest, "model", where);
  if (model.isNull()) throw Error("the field \"model\" is missing", where);
  const std::string type = modelType(model, !document.mergeSpans.empty());
  const char* hint = "supported: BPE, WordPiece, WordLevel; token ids can be given directly";
  if (type != "BPE" && type != "WordPiece" && type != "WordLevel") model.fail("the model \"" + type + "\" is not supported", hint);
  if (!document.hasVocabulary) model.fail("the vocabulary (vocab) is missing or no object");
  if (type == "BPE") {
    BpeOptions options;
    options.hasUnknown = model.has("unk_token");
    options.unknownToken = model.string("unk_token", "");
    options.continuingPrefix = model.string("continuing_subword_prefix", "");
    options.endOfWordSuffix = model.string("end_of_word_suffix", "");
    options.fuseUnknown = model.boolean("fuse_unk", false);
    options.byteFallback = model.boolean("byte_fallback", false);
    options.ignoreMerges = model.boolean("ignore_merges", false);
    return std::make_unique<BpeModel>(std::move(document.vocabulary), document.merges(), std::move(options), model.where());
  }
  if (type == "WordPiece") {
    return std::make_unique<WordPieceModel>(std::move(document.vocabulary), model.string("unk_token", "[UNK]"),
                                            model.string("continuing_subword_prefix", "##"), model.integer("max_input_chars_per_word", 100),
                                            model.where());
  }
  return std::make_unique<WordLevelModel>(std::move(document.vocabulary), model.string("unk_token", "<unk>"), model.where());
}

std::vector<AddedToken> addedTokens(const JsonField& list) {
  std::vector<AddedToken> tokens;
  if (list.isNull()) return tokens;
  for (size_t i = 0; i < list.count(); ++i) {
    const JsonField item = list.element(i);
    AddedToken token;
    token.content = item.at("content").string();
    token.isSingleWord = item.boolean("single_word", false);
    token.stripsLeft = item.boolean("lstrip", false);
    token.stripsRight = item.boolean("rstrip", false);
    token.isSpecial = item.boolean("special", false);
    token.isNormalized = item.boolean("normalized", !token.isSpecial);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

/// From bytes to code points of the original text. Nothing is stored for ASCII.
class CodePoints {
 public:
  explicit CodePoints(std::string_view text) : size_(static_cast<int64_t>(text.size())) {
    if (isAscii(text)) return;
    index_.resize(text.size());
    uint32_t index = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      if (at > 0 && !isUtf8Continuation(text[at])) ++index;
      index_[at] = index;
    }
  }

  /// As the reference converts: what begins beyond the text stays as it is, an end at the text's end is the last one + 1.
  void convert(int64_t& begin, int64_t& end) const {
    if (begin >= size_) return;
    const int64_t first = at(begin);
    end = end < size_ ? at(end) : end - 1 < size_ ? at(end - 1) + 1 : first + 2;
    begin = first;
  }

 private:
  int64_t at(int64_t byte) const { return index_.empty() ? byte : static_cast<int64_t>(index_[static_cast<size_t>(byte)]); }
  int64_t size_;
  std::vector<uint32_t> index_;  // [bytes] or empty
};

}  // namespace

TokenizerPipeline::TokenizerPipeline(TokenizerDocument document, const std::string& where) {
  normalizer_ = makeNormalizer(optional(document.rest, "normalizer", where));
  preTokenizer_ = makePreTokenizer(optional(document.rest, "pre_tokenizer", where));
  postProcessor_ = makePostProcessor(optional(document.rest, "post_processor", where));
  decoder_ = makeDecoder(optional(document.rest, "decoder", where));
  const JsonField added = optional(document.rest, "added_tokens", where);
  const std::vector<AddedToken> tokens = addedTokens(added);
  model_ = makeModel(document, where);
  added_ = std::make_unique<AddedTokens>(tokens, model_->vocabulary(), normalizer_.get(), added.where());
}

void TokenizerPipeline::appendEntries(const TrackedText& text, std::string_view original, Job& job,
                                      std::vector<Encoding::Entry>& entries) const {
  const CodePoints codePoints(original);
  const auto scratch = model_->makeScratch(original.size());
  const Vocabulary& vocabulary = model_->vocabulary();
  std::vector<ModelToken> tokens;
  entries.reserve(text.splits().size() + text.splits().size() / 4);
  size_t count = 0;
  for (const TextSplit& split : text.splits()) {
    if ((++count & 1023) == 0) {
      job.checkpoint();
      job.report(0.3 + 0.7 * static_cast<double>(count) / static_cast<double>(text.splits().size()), "tokenizing");
    }
    const std::string_view word = text.textOf(split);
    if (word.empty()) continue;
    const auto places = text.originOf(split);
    tokens.clear();
    if (split.tokenId >= 0) {
      tokens.push_back({split.tokenId, 0, static_cast<uint32_t>(word.size())});
    } else {
      model_->tokenize(word, *scratch, job, tokens);
    }
    for (const ModelToken& token : tokens) {
      int64_t begin = token.begin, end = token.end;
      if (begin < end && end <= static_cast<int64_t>(places.size())) {
        begin = places[token.begin].begin;
        end = places[token.end - 1].end;
      }
      codePoints.convert(begin, end);
      const std::string_view piece = split.tokenId >= 0 ? word : vocabulary.pieceOf(token.id);
      entries.push_back({token.id, std::string(piece), begin, end, isSpecial(token.id)});
    }
  }
}

Encoding TokenizerPipeline::encode(std::string_view text, bool withSpecial, Job& job) const {
  if (text.size() > kLongestText) throw Error("a text of more than 1 GiB can't be tokenized at once");
  std::string repaired;
  if (!isValidUtf8(text)) {
    repaired = repairUtf8(text);
    text = repaired;
  }
  job.report(0.0, "splitting");
  TrackedText tracked(text);
  added_->apply(tracked, normalizer_.get(), job);
  if (preTokenizer_ != nullptr) preTokenizer_->apply(tracked, job);
  Encoding encoding;
  appendEntries(tracked, text, job, encoding.entries);
  if (postProcessor_ != nullptr) postProcessor_->apply(encoding.entries, withSpecial);
  job.report(1.0);
  return encoding;
}

std::string TokenizerPipeline::decode(const std::vector<int32_t>& ids) const {
  std::vector<std::string> pieces;
  pieces.reserve(ids.size());
  for (const int32_t id : ids) {
    if (added_->find(id) != nullptr) {
      pieces.emplace_back(added_->spellingOf(id));
    } else if (model_->vocabulary().hasId(id)) {
      pieces.emplace_back(model_->vocabulary().pieceOf(id));
    }
  }
  std::string text;
  if (decoder_ != nullptr) {
    for (const std::string& piece : decoder_->apply(std::move(pieces))) text += piece;
    return text;
  }
  for (size_t i = 0; i < pieces.size(); ++i) text += (i > 0 ? " " : "") + pieces[i];
  return text;
}

std::string TokenizerPipeline::bytesOf(int32_t id) const {
  if (const AddedToken* token = added_->find(id)) return token->content;
  std::string piece(model_->vocabulary().pieceOf(id));
  if (decoder_ != nullptr) decoder_->applyToOne(piece);
  return piece;
}

std::string TokenizerPipeline::pieceOf(int32_t id) const {
  if (added_->find(id) != nullptr) return std::string(added_->spellingOf(id));
  return std::string(model_->vocabulary().pieceOf(id));
}

int32_t TokenizerPipeline::idOf(std::string_view piece) const {
  const int32_t id = added_->idOf(piece);
  return id >= 0 ? id : model_->vocabulary().idOf(piece);
}

bool TokenizerPipeline::isSpecial(int32_t id) const {
  const AddedToken* token = added_->find(id);
  return token != nullptr && token->isSpecial;
}

int64_t TokenizerPipeline::size() const { return std::max(model_->vocabulary().idBound(), added_->idBound()); }

std::vector<int32_t> TokenizerPipeline::idsBefore() const {
  return postProcessor_ == nullptr ? std::vector<int32_t>() : postProcessor_->before();
}

}  // namespace headscope::core
