#pragma once
// TokenizerDocument: a tokenizer.json as read: the vocabulary and the merges in compact form, everything else as small JSON.
//
// Read event by event, so that a file of 20 MB takes a fraction of a second and no tree of half a million nodes. Hostile
// files (depth, size, wrong types) end in an Error that names the place.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/tokenizer/vocabulary.h"

namespace headscope::core {

struct TokenizerDocument {
  nlohmann::json rest;  // the document without model.vocab and model.merges
  Vocabulary vocabulary;
  bool hasVocabulary = false;
  std::string mergeText;  // both parts of every merge, one after another
  struct MergeSpan {
    uint32_t left, right, end;  // positions in mergeText
  };
  std::vector<MergeSpan> mergeSpans;

  void addMerge(std::string_view left, std::string_view right);
  /// Views into mergeText, by rank.
  std::vector<std::pair<std::string_view, std::string_view>> merges() const;
};

/// A whole tokenizer.json.
TokenizerDocument readTokenizerJson(std::string_view json, const std::string& where);
/// A vocab.json: one object of pieces and ids.
Vocabulary readVocabularyJson(std::string_view json, const std::string& where);
/// A small JSON file (at most 64 levels deep).
nlohmann::json readSmallJson(std::string_view json, const std::string& where);

}  // namespace headscope::core
