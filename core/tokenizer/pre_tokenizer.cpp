#include "core/tokenizer/pre_tokenizer.h"

#include <functional>
#include <optional>
#include <vector>

#include "core/tokenizer/byte_alphabet.h"
#include "core/tokenizer/text_pattern.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

constexpr int kDeepestNesting = 16;
constexpr char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void cutByRegex(TrackedText& text, const Regex& regex, CutBehaviour behaviour, bool isInverted, Job& job) {
  Regex::Matcher matcher(regex);
  PartCollector parts(behaviour);
  text.cut(job, [&](std::string_view split, const TrackedText::Emit& emit) {
    if (behaviour == CutBehaviour::isolated) {
      matcher.forEachPart(split, job, [&](size_t begin, size_t end, bool) { emit(begin, end, -1); });
      return;
    }
    matcher.forEachPart(split, job, [&](size_t begin, size_t end, bool isMatch) { parts.add(begin, end, isMatch != isInverted); });
    parts.flush([&](size_t begin, size_t end) { emit(begin, end, -1); });
  });
}

/// Every character for which isMatch is true is a match of its own.
void cutByCharacter(TrackedText& text, const std::function<bool(char32_t)>& isMatch, CutBehaviour behaviour, Job& job) {
  PartCollector parts(behaviour);
  text.cut(job, [&](std::string_view split, const TrackedText::Emit& emit) {
    size_t done = 0;
    for (size_t at = 0; at < split.size();) {
      const DecodedChar c = decodeUtf8(split, at);
      if (isMatch(c.value)) {
        if (done < at) parts.add(done, at, false);
        parts.add(at, at + c.length, true);
        done = at + c.length;
      }
      at += c.length;
    }
    if (done < split.size()) parts.add(done, split.size(), false);
    parts.flush([&](size_t begin, size_t end) { emit(begin, end, -1); });
  });
}

class CharacterCutter final : public PreTokenizer {
 public:
  CharacterCutter(std::function<bool(char32_t)> isMatch, CutBehaviour behaviour) : isMatch_(std::move(isMatch)), behaviour_(behaviour) {}
  void apply(TrackedText& text, Job& job) const override { cutByCharacter(text, isMatch_, behaviour_, job); }

 private:
  std::function<bool(char32_t)> isMatch_;
  CutBehaviour behaviour_;
};

class BertPreTokenizer final : public PreTokenizer {
 public:
  void apply(TrackedText& text, Job& job) const override {
    cutByCharacter(text, isWhitespace, CutBehaviour::removed, job);
    cutByCharacter(text, isPunctuation, CutBehaviour::isolated, job);
  }
};

/// \w+|[^\w\s]+
class WhitespacePreTokenizer final : public PreTokenizer {
 public:
  void apply(TrackedText& text, Job& job) const override {
    text.cut(job, [](std::string_view split, const TrackedText::Emit& emit) {
      size_t begin = 0;
      int previous = 0;  // 0: space, 1: word, 2: neither
      for (size_t at = 0; at < split.size();) {
        const DecodedChar c = decodeUtf8(split, at);
        const int kind = isWordCharacter(c.value) ? 1 : isWhitespace(c.value) ? 0 : 2;
        if (kind != previous) {
          if (previous != 0) emit(begin, at, -1);
          begin = at;
          previous = kind;
        }
        at += c.length;
      }
      if (previous != 0) emit(begin, split.size(), -1);
    });
  }
};

class SplitPreTokenizer final : public PreTokenizer {
 public:
  explicit SplitPreTokenizer(const JsonField& field)
      : pattern_(field.at("pattern")), behaviour_(cutBehaviourOf(field.at("behavior"))), isInverted_(field.boolean("invert", false)) {}
  void apply(TrackedText& text, Job& job) const override {
    if (pattern_.matchesNothing()) {
      if (isInverted_ && behaviour_ == CutBehaviour::removed) text.cut(job, [](std::string_view, const TrackedText::Emit&) {});
      return;
    }
    cutByRegex(text, pattern_.regex(), behaviour_, isInverted_, job);
  }

 private:
  TextPattern pattern_;
  CutBehaviour behaviour_;
  bool isInverted_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(const JsonField& field) : addsPrefixSpace_(field.boolean("add_prefix_space", true)) {
    if (field.boolean("use_regex", true)) regex_.emplace(kGpt2Pattern, field.where());
  }
  void apply(TrackedText& text, Job& job) const override {
    if (addsPrefixSpace_) {
      text.rewrite(job, [](NormalText& part) {
        if (!part.text.starts_with(' ')) part.prepend(" ");
      });
    }
    if (regex_) cutByRegex(text, *regex_, CutBehaviour::isolated, false, job);
    text.mapCharacters(job, [this](std::string& out, std::string_view character) { alphabet_.appendMapped(out, character); });
  }

 private:
  bool addsPrefixSpace_;
  std::optional<Regex> regex_;
  ByteAlphabet alphabet_;
};

/// Spaces become a visible mark, which the words then start with.
class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const JsonField& field)
      : mark_(field.has("replacement") ? field.at("replacement").character() : "\xE2\x96\x81"), splits_(field.boolean("split", true)) {
    // Older files say add_prefix_space, newer ones prepend_scheme.
    std::string scheme = field.boolean("add_prefix_space", true) ? "always" : "never";
    if (field.has("prepend_scheme")) scheme = field.at("prepend_scheme").string();
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      field.at("prepend_scheme").fail("\"" + scheme + "\" is no known scheme", "known: always, first, never");
    }
    isAlways_ = scheme == "always";
    isFirst_ = scheme == "first";
  }

  void apply(TrackedText& text, Job& job) const override {
    text.mapCharacters(
        job, [this](std::string& out, std::string_view character) { out += character == " " ? std::string_view(mark_) : character; });
    if (isAlways_ || isFirst_) {
      text.rewrite(job, [this](NormalText& part) {
        if (!part.text.starts_with(mark_) && (isAlways_ || part.whole.begin == 0)) part.prepend(mark_);
      });
    }
    if (!splits_) return;
    PartCollector parts(CutBehaviour::mergedWithNext);
    text.cut(job, [&](std::string_view split, const TrackedText::Emit& emit) {
      size_t done = 0;
      for (size_t at = split.find(mark_); at != std::string_view::npos; at = split.find(mark_, done)) {
        if (done < at) parts.add(done, at, false);
        done = at + mark_.size();
        parts.add(at, done, true);
      }
      if (done < split.size()) parts.add(done, split.size(), false);
      parts.flush([&](size_t begin, size_t end) { emit(begin, end, -1); });
    });
  }

 private:
  std::string mark_;
  bool splits_, isAlways_ = false, isFirst_ = false;
};

class FixedLengthPreTokenizer final : public PreTokenizer {
 public:
  explicit FixedLengthPreTokenizer(const JsonField& field) : length_(field.integer("length", 5)) {
    if (length_ < 1) field.at("length").fail("the length has to be at least 1");
  }
  void apply(TrackedText& text, Job& job) const override {
    text.cut(job, [this](std::string_view split, const TrackedText::Emit& emit) {
      size_t begin = 0;
      int64_t count = 0;
      for (size_t at = 0; at < split.size(); at += utf8Length(split[at])) {
        if (count++ == length_) {
          emit(begin, at, -1);
          begin = at;
          count = 1;
        }
      }
      emit(begin, split.size(), -1);
    });
  }

 private:
  int64_t length_;
};

class SequencePreTokenizer final : public PreTokenizer {
 public:
  SequencePreTokenizer(const JsonField& list, int depth) {
    for (size_t i = 0; i < list.count(); ++i) {
      if (auto step = makePreTokenizer(list.element(i), depth + 1)) steps_.push_back(std::move(step));
    }
  }
  void apply(TrackedText& text, Job& job) const override {
    for (const auto& step : steps_) step->apply(text, job);
  }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

}  // namespace

std::unique_ptr<const PreTokenizer> makePreTokenizer(const JsonField& field, int depth) {
  if (field.isNull()) return nullptr;
  if (depth > kDeepestNesting) field.fail("pre-tokenizers are nested too deeply");
  const std::string type = field.at("type").string();
  if (type == "Sequence") return std::make_unique<SequencePreTokenizer>(field.at("pretokenizers"), depth);
  if (type == "ByteLevel") return std::make_unique<ByteLevelPreTokenizer>(field);
  if (type == "Split") return std::make_unique<SplitPreTokenizer>(field);
  if (type == "Metaspace") return std::make_unique<MetaspacePreTokenizer>(field);
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Whitespace") return std::make_unique<WhitespacePreTokenizer>();
  if (type == "WhitespaceSplit") return std::make_unique<CharacterCutter>(isWhitespace, CutBehaviour::removed);
  if (type == "FixedLength") return std::make_unique<FixedLengthPreTokenizer>(field);
  if (type == "Digits") {
    return std::make_unique<CharacterCutter>(isNumber,
                                             field.boolean("individual_digits", false) ? CutBehaviour::isolated : CutBehaviour::contiguous);
  }
  if (type == "Punctuation") {
    return std::make_unique<CharacterCutter>(isPunctuation,
                                             field.has("behavior") ? cutBehaviourOf(field.at("behavior")) : CutBehaviour::isolated);
  }
  if (type == "CharDelimiterSplit") {
    const char32_t delimiter = firstCodePoint(field.at("delimiter").character());
    return std::make_unique<CharacterCutter>([delimiter](char32_t c) { return c == delimiter; }, CutBehaviour::removed);
  }
  field.fail("the pre-tokenizer \"" + type + "\" is not supported",
             "supported: Sequence, ByteLevel, Split, Metaspace, BertPreTokenizer, Whitespace, WhitespaceSplit, Digits, Punctuation, "
             "CharDelimiterSplit, FixedLength; token ids can be given directly");
}

}  // namespace headscope::core
