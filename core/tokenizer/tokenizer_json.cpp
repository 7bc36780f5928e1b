#include "core/tokenizer/tokenizer_json.h"

#include "core/base/error.h"

namespace headscope::core {
namespace {

using Json = nlohmann::json;

constexpr size_t kDeepest = 64;

/// Receives the events of nlohmann's parser. The stack holds the objects and arrays that are open; vocabulary and merges are
/// kept out of the tree.
class Reader {
 public:
  enum class Kind { document, vocabulary, plain };
  Reader(Kind kind, std::string where) : kind_(kind), where_(std::move(where)) {}

  bool null() { return value(Json(nullptr)); }
  bool boolean(bool b) { return value(Json(b)); }
  bool number_integer(Json::number_integer_t n) { return number(n); }
  bool number_unsigned(Json::number_unsigned_t n) {
    return number(n > static_cast<Json::number_unsigned_t>(INT64_MAX) ? INT64_MAX : static_cast<int64_t>(n));
  }
  bool number_float(Json::number_float_t n, const std::string&) { return value(Json(n)); }
  bool binary(Json::binary_t&) { return fail("binary data can't be here"); }

  bool string(std::string& text) {
    if (mode_ == Mode::merges) return mergeString(text);
    return value(Json(std::move(text)));
  }

  bool key(std::string& name) {
    if (mode_ == Mode::skip) return true;
    key_ = std::move(name);
    return true;
  }

  bool start_object(size_t) {
    if (!descend()) return false;
    if (mode_ == Mode::skip) return true;
    if (mode_ == Mode::vocabulary || mode_ == Mode::merges) return fail("an object can't be here");
    if (depth_ == (kind_ == Kind::vocabulary ? 1U : 3U) && isVocabularyNext()) {
      mode_ = Mode::vocabulary;
      modeDepth_ = depth_;
      document.hasVocabulary = true;
      document.vocabulary = Vocabulary();
      return true;
    }
    return open(Json::object());
  }

  bool start_array(size_t) {
    if (!descend()) return false;
    if (mode_ == Mode::skip) return true;
    if (mode_ == Mode::vocabulary) return fail("a list can't be within the vocabulary");
    if (mode_ == Mode::merges) {
      if (depth_ != modeDepth_ + 1) return fail("a merge has to be two strings");
      pair_.clear();
      return true;
    }
    if (kind_ == Kind::document && depth_ == 3 && isWithinModel() && (key_ == "merges" || key_ == "vocab")) {
      mode_ = key_ == "merges" ? Mode::merges : Mode::skip;  // a vocab that is a list is Unigram's
      modeDepth_ = depth_;
      document.mergeSpans.clear();
      document.mergeText.clear();
      return true;
    }
    return open(Json::array());
  }

  bool end_object() { return close(); }

  bool end_array() {
    if (mode_ == Mode::merges && depth_ == modeDepth_ + 1) {
      if (pair_.size() != 2) return fail("merge " + std::to_string(document.mergeSpans.size()) + " has to be two strings");
      addMerge(pair_[0], pair_[1]);
      --depth_;
      return true;
    }
    return close();
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& e) {
    return fail("no valid JSON at byte " + std::to_string(position) + ": " + e.what());
  }

  TokenizerDocument document;
  std::string fault;

 private:
  enum class Mode { tree, vocabulary, merges, skip };

  bool fail(std::string what) {
    if (fault.empty()) fault = std::move(what);
    return false;
  }
  bool descend() { return ++depth_ <= kDeepest || fail("JSON that is nested more than 64 levels deep"); }
  bool isWithinModel() const { return stack_.size() == 2 && modelKey_ == "model"; }
  bool isVocabularyNext() const { return kind_ == Kind::vocabulary || (kind_ == Kind::document && isWithinModel() && key_ == "vocab"); }

  bool number(int64_t n) {
    if (mode_ != Mode::vocabulary) return value(Json(n));
    try {
      document.vocabulary.add(key_, n, where_);
    } catch (const Error& e) {
      return fail("vocabulary entry \"" + key_.substr(0, 60) + "\": " + e.fault());
    }
    return true;
  }

  bool mergeString(const std::string& text) {
    if (depth_ == modeDepth_ + 1) {
      pair_.push_back(text);
      return pair_.size() <= 2 || fail("a merge has to be two strings");
    }
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
      return fail("merge " + std::to_string(document.mergeSpans.size()) + " (\"" + text.substr(0, 60) +
                  "\") has to be two pieces with one space between");
    }
    addMerge(std::string_view(text).substr(0, space), std::string_view(text).substr(space + 1));
    return true;
  }
  void addMerge(std::string_view left, std::string_view right) { document.addMerge(left, right); }

  bool value(Json v) {
    if (mode_ == Mode::skip) return true;
    if (mode_ == Mode::vocabulary) return fail("vocabulary entry \"" + key_.substr(0, 60) + "\" has no integer id");
    if (mode_ == Mode::merges) return fail("merge " + std::to_string(document.mergeSpans.size()) + " has to be two strings");
    place(std::move(v));
    return true;
  }

  Json* place(Json v) {
    if (stack_.empty()) {
      document.rest = std::move(v);
      return &document.rest;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    Json& slot = parent[key_];
    slot = std::move(v);
    return &slot;
  }

  bool open(Json container) {
    if (stack_.size() == 1) modelKey_ = key_;
    stack_.push_back(place(std::move(container)));
    return true;
  }

  bool close() {
    if (mode_ != Mode::tree) {
      if (depth_ == modeDepth_) mode_ = Mode::tree;
    } else {
      stack_.pop_back();
    }
    --depth_;
    return true;
  }

  Kind kind_;
  std::string where_;
  Mode mode_ = Mode::tree;
  size_t depth_ = 0, modeDepth_ = 0;
  std::vector<Json*> stack_;
  std::string key_, modelKey_;
  std::vector<std::string> pair_;
};

TokenizerDocument read(std::string_view json, Reader::Kind kind, const std::string& where) {
  Reader reader(kind, where);
  bool isRead = false;
  try {
    isRead = Json::sax_parse(json.begin(), json.end(), &reader);
  } catch (const Json::exception& e) {
    throw Error(std::string("no valid JSON: ") + e.what(), where);
  }
  if (!isRead) throw Error(reader.fault.empty() ? "no valid JSON" : reader.fault, where);
  return std::move(reader.document);
}

}  // namespace

void TokenizerDocument::addMerge(std::string_view left, std::string_view right) {
  const auto at = static_cast<uint32_t>(mergeText.size());
  mergeText.append(left).append(right);
  mergeSpans.push_back({at, at + static_cast<uint32_t>(left.size()), static_cast<uint32_t>(mergeText.size())});
}

std::vector<std::pair<std::string_view, std::string_view>> TokenizerDocument::merges() const {
  std::vector<std::pair<std::string_view, std::string_view>> out;
  out.reserve(mergeSpans.size());
  const std::string_view text = mergeText;
  for (const MergeSpan& span : mergeSpans)
    out.emplace_back(text.substr(span.left, span.right - span.left), text.substr(span.right, span.end - span.right));
  return out;
}

TokenizerDocument readTokenizerJson(std::string_view json, const std::string& where) {
  TokenizerDocument document = read(json, Reader::Kind::document, where);
  if (!document.rest.is_object()) throw Error("an object is expected", where);
  return document;
}

Vocabulary readVocabularyJson(std::string_view json, const std::string& where) {
  TokenizerDocument document = read(json, Reader::Kind::vocabulary, where);
  if (!document.hasVocabulary) throw Error("an object of pieces and ids is expected", where);
  return std::move(document.vocabulary);
}

nlohmann::json readSmallJson(std::string_view json, const std::string& where) {
  return std::move(read(json, Reader::Kind::plain, where).rest);
}

}  // namespace headscope::core
