#include "core/tokenizer/post_processor.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"
#include "core/tokenizer/vocabulary.h"

namespace headscope::core {
namespace {

constexpr int kDeepestNesting = 16;
constexpr size_t kLongestTemplate = 64;
constexpr char32_t kByteLevelSpace = 0x120;  // Ġ

bool isSpace(char32_t c) { return c == kByteLevelSpace || isWhitespace(c); }

/// Takes the white space that tokens carry out of their offsets. A single space at the start of the text that the tokenizer
/// itself added has no place in the text and stays.
void trimOffsets(std::vector<Encoding::Entry>& entries, bool addsPrefixSpace) {
  for (size_t i = 0; i < entries.size(); ++i) {
    Encoding::Entry& entry = entries[i];
    const std::string_view piece = entry.piece;
    int64_t leading = 0, trailing = 0;
    for (size_t at = 0; at < piece.size();) {
      const DecodedChar c = decodeUtf8(piece, at);
      if (!isSpace(c.value)) break;
      at += c.length;
      ++leading;
    }
    for (size_t end = piece.size(); end > 0;) {
      size_t at = end - 1;
      while (at > 0 && isUtf8Continuation(piece[at])) --at;
      if (!isSpace(decodeUtf8(piece, at).value)) break;
      end = at;
      ++trailing;
    }
    if (leading > 0) {
      const bool isFirst = i == 0 || entry.begin == 0;
      if (isFirst && addsPrefixSpace && leading == 1) leading = 0;
      entry.begin = std::min(entry.begin + leading, entry.end);
    }
    if (trailing > 0 && entry.end >= trailing) entry.end = std::max(entry.end - trailing, entry.begin);
  }
}

Encoding::Entry specialEntry(int64_t id, std::string piece) { return {static_cast<int32_t>(id), std::move(piece), 0, 0, true}; }

int64_t idIn(const JsonField& field) {
  const int64_t id = field.integer();
  if (id < 0 || id > Vocabulary::kLargestId) field.fail("the id is out of range");
  return id;
}

class ByteLevelPostProcessor final : public PostProcessor {
 public:
  explicit ByteLevelPostProcessor(const JsonField& field)
      : addsPrefixSpace_(field.boolean("add_prefix_space", true)), trims_(field.boolean("trim_offsets", true)) {}
  void apply(std::vector<Encoding::Entry>& entries, bool) const override {
    if (trims_) trimOffsets(entries, addsPrefixSpace_);
  }

 private:
  bool addsPrefixSpace_, trims_;
};

class TemplatePostProcessor final : public PostProcessor {
 public:
  explicit TemplatePostProcessor(const JsonField& field) {
    const JsonField specials = field.at("special_tokens");
    const JsonField single = field.at("single");
    if (single.count() > kLongestTemplate) single.fail("a template of more than 64 parts is not supported");
    size_t sequences = 0;
    for (size_t i = 0; i < single.count(); ++i) {
      const JsonField part = single.element(i);
      if (part.has("Sequence")) {
        const JsonField id = part.at("Sequence").at("id");
        if (id.string() != "A") id.fail("a template for one sequence can't hold sequence \"" + id.string() + "\"");
        parts_.push_back({true, {}});
        ++sequences;
      } else {
        addSpecial(part.at("SpecialToken").at("id"), specials);
      }
    }
    if (sequences > 1) single.fail("a template that repeats the text is not supported");
  }

  void apply(std::vector<Encoding::Entry>& entries, bool withSpecial) const override {
    std::vector<Encoding::Entry> out;
    out.reserve(entries.size() + parts_.size());
    for (const Part& part : parts_) {
      if (part.isText) {
        std::move(entries.begin(), entries.end(), std::back_inserter(out));
      } else if (withSpecial) {
        out.insert(out.end(), part.entries.begin(), part.entries.end());
      }
    }
    entries = std::move(out);
  }

  std::vector<int32_t> before() const override {
    std::vector<int32_t> ids;
    for (const Part& part : parts_) {
      if (part.isText) break;
      for (const Encoding::Entry& entry : part.entries) ids.push_back(entry.id);
    }
    return ids;
  }

 private:
  struct Part {
    bool isText;
    std::vector<Encoding::Entry> entries;
  };

  void addSpecial(const JsonField& id, const JsonField& specials) {
    const std::string name = id.string();
    if (!specials.has(name)) id.fail("the template asks for \"" + name + "\", which is not among its special_tokens");
    const JsonField special = specials.at(name);
    const JsonField ids = special.at("ids"), tokens = special.at("tokens");
    if (ids.count() != tokens.count() || ids.count() > kLongestTemplate)
      special.fail("ids and tokens have to be of one length, at most 64");
    Part part{false, {}};
    for (size_t i = 0; i < ids.count(); ++i) part.entries.push_back(specialEntry(idIn(ids.element(i)), tokens.element(i).string()));
    parts_.push_back(std::move(part));
  }

  std::vector<Part> parts_;
};

/// BertProcessing and RobertaProcessing: one token before the text, one after.
class ClsSepPostProcessor final : public PostProcessor {
 public:
  ClsSepPostProcessor(const JsonField& field, bool isRoberta)
      : cls_(entryOf(field.at("cls"))),
        sep_(entryOf(field.at("sep"))),
        trims_(isRoberta && field.boolean("trim_offsets", true)),
        addsPrefixSpace_(field.boolean("add_prefix_space", true)) {}

  void apply(std::vector<Encoding::Entry>& entries, bool withSpecial) const override {
    if (trims_) trimOffsets(entries, addsPrefixSpace_);
    if (!withSpecial) return;
    entries.insert(entries.begin(), cls_);
    entries.push_back(sep_);
  }
  std::vector<int32_t> before() const override { return {cls_.id}; }

 private:
  static Encoding::Entry entryOf(const JsonField& pair) {
    if (pair.count() != 2) pair.fail("a token and its id are expected here");
    return specialEntry(idIn(pair.element(1)), pair.element(0).string());
  }

  Encoding::Entry cls_, sep_;
  bool trims_, addsPrefixSpace_;
};

class SequencePostProcessor final : public PostProcessor {
 public:
  SequencePostProcessor(const JsonField& list, int depth) {
    for (size_t i = 0; i < list.count(); ++i) {
      if (auto step = makePostProcessor(list.element(i), depth + 1)) steps_.push_back(std::move(step));
    }
  }
  void apply(std::vector<Encoding::Entry>& entries, bool withSpecial) const override {
    for (const auto& step : steps_) step->apply(entries, withSpecial);
  }
  std::vector<int32_t> before() const override {
    std::vector<int32_t> ids;
    for (const auto& step : steps_) {
      const std::vector<int32_t> outer = step->before();
      ids.insert(ids.begin(), outer.begin(), outer.end());
    }
    return ids;
  }

 private:
  std::vector<std::unique_ptr<const PostProcessor>> steps_;
};

}  // namespace

std::unique_ptr<const PostProcessor> makePostProcessor(const JsonField& field, int depth) {
  if (field.isNull()) return nullptr;
  if (depth > kDeepestNesting) field.fail("post-processors are nested too deeply");
  const std::string type = field.at("type").string();
  if (type == "Sequence") return std::make_unique<SequencePostProcessor>(field.at("processors"), depth);
  if (type == "ByteLevel") return std::make_unique<ByteLevelPostProcessor>(field);
  if (type == "TemplateProcessing") return std::make_unique<TemplatePostProcessor>(field);
  if (type == "RobertaProcessing") return std::make_unique<ClsSepPostProcessor>(field, true);
  if (type == "BertProcessing") return std::make_unique<ClsSepPostProcessor>(field, false);
  field.fail("the post-processor \"" + type + "\" is not supported",
             "supported: Sequence, ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing; token ids can be given directly");
}

}  // namespace headscope::core
