#include "core/tokenizer/word_models.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

int32_t unknownIdIn(const Vocabulary& vocabulary, const std::string& token, const std::string& where) {
  const int32_t id = vocabulary.idOf(token);
  if (id < 0) throw Error("the text has a word that is not in the vocabulary, and neither is unk_token \"" + token + "\"", where);
  return id;
}

}  // namespace

WordPieceModel::WordPieceModel(Vocabulary vocabulary, std::string unknownToken, std::string continuingPrefix, int64_t longestWord,
                               const std::string& where)
    : vocabulary_(std::move(vocabulary)),
      unknownToken_(std::move(unknownToken)),
      continuingPrefix_(std::move(continuingPrefix)),
      where_(where),
      longestWord_(longestWord) {
  for (int64_t id = 0; id < vocabulary_.idBound(); ++id) {
    longestPiece_ = std::max(longestPiece_, vocabulary_.pieceOf(static_cast<int32_t>(id)).size());
  }
}

int32_t WordPieceModel::unknownId() const { return unknownIdIn(vocabulary_, unknownToken_, where_); }

void WordPieceModel::tokenize(std::string_view word, Scratch&, Job& job, std::vector<ModelToken>& out) const {
  const size_t first = out.size();
  const auto giveUp = [&] {
    out.resize(first);
    out.push_back({unknownId(), 0, static_cast<uint32_t>(word.size())});
  };
  if (static_cast<int64_t>(countCodePoints(word)) > longestWord_) return giveUp();
  std::string decorated;
  for (size_t start = 0; start < word.size();) {
    job.checkpoint();
    size_t end = std::min(word.size(), start + longestPiece_);
    while (end > start && end < word.size() && isUtf8Continuation(word[end])) --end;
    int32_t id = -1;
    while (end > start) {
      std::string_view piece = word.substr(start, end - start);
      if (start > 0) {
        decorated.assign(continuingPrefix_).append(piece);
        piece = decorated;
      }
      id = vocabulary_.idOf(piece);
      if (id >= 0) break;
      do {
        --end;
      } while (end > start && isUtf8Continuation(word[end]));
    }
    if (id < 0) return giveUp();
    out.push_back({id, static_cast<uint32_t>(start), static_cast<uint32_t>(end)});
    start = end;
  }
}

WordLevelModel::WordLevelModel(Vocabulary vocabulary, std::string unknownToken, const std::string& where)
    : vocabulary_(std::move(vocabulary)), unknownToken_(std::move(unknownToken)), where_(where) {}

void WordLevelModel::tokenize(std::string_view word, Scratch&, Job&, std::vector<ModelToken>& out) const {
  int32_t id = vocabulary_.idOf(word);
  if (id < 0) id = unknownIdIn(vocabulary_, unknownToken_, where_);
  out.push_back({id, 0, static_cast<uint32_t>(word.size())});
}

}  // namespace headscope::core
