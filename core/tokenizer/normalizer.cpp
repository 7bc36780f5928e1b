#include "core/tokenizer/normalizer.h"

#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/tokenizer/byte_alphabet.h"
#include "core/tokenizer/text_pattern.h"
#include "core/tokenizer/unicode.h"
#include "core/tokenizer/unicode_forms.h"

namespace headscope::core {
namespace {

constexpr int kDeepestNesting = 16;

void lowercase(NormalText& text) {
  std::string out;
  std::vector<Origin> origin;
  out.reserve(text.text.size());
  origin.reserve(text.origin.size());
  for (size_t at = 0; at < text.text.size();) {
    const DecodedChar c = decodeUtf8(text.text, at);
    appendLowercase(out, c.value);
    origin.resize(out.size(), text.origin[at]);
    at += c.length;
  }
  text.text = std::move(out);
  text.origin = std::move(origin);
}

/// Replaces each character for which mapped(c) is not empty.
void mapText(NormalText& text, const std::function<std::string(char32_t)>& mapped) {
  std::string out;
  std::vector<Origin> origin;
  for (size_t at = 0; at < text.text.size();) {
    const DecodedChar c = decodeUtf8(text.text, at);
    const std::string other = mapped(c.value);
    if (other.empty()) {
      out.append(text.text, at, c.length);
    } else {
      out += other;
    }
    origin.resize(out.size(), text.origin[at]);
    at += c.length;
  }
  text.text = std::move(out);
  text.origin = std::move(origin);
}

class FormNormalizer final : public Normalizer {
 public:
  explicit FormNormalizer(UnicodeForm form) : form_(form) {}
  void apply(NormalText& text, Job&) const override { applyUnicodeForm(text, form_); }

 private:
  UnicodeForm form_;
};

class LowercaseNormalizer final : public Normalizer {
 public:
  void apply(NormalText& text, Job&) const override { lowercase(text); }
};

class StripAccentsNormalizer final : public Normalizer {
 public:
  void apply(NormalText& text, Job&) const override {
    text.filter([](char32_t c) { return !isMark(c); });
  }
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalText& text, Job&) const override {
    size_t begin = 0, end = text.text.size();
    while (left_ && begin < end) {
      const DecodedChar c = decodeUtf8(text.text, begin);
      if (!isWhitespace(c.value)) break;
      begin += c.length;
    }
    while (right_ && end > begin && isWhitespace(lastCodePoint(std::string_view(text.text).substr(0, end)))) {
      do {
        --end;
      } while (end > begin && isUtf8Continuation(text.text[end]));
    }
    text.text = text.text.substr(begin, end - begin);
    text.origin = {text.origin.begin() + static_cast<std::ptrdiff_t>(begin), text.origin.begin() + static_cast<std::ptrdiff_t>(end)};
  }

 private:
  bool left_, right_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalText& text, Job&) const override { text.prepend(prefix_); }

 private:
  std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  explicit ReplaceNormalizer(const JsonField& field) : pattern_(field.at("pattern")), content_(field.at("content").string()) {}

  void apply(NormalText& text, Job& job) const override {
    if (pattern_.matchesNothing()) return;
    NormalText out;
    out.text.reserve(text.text.size());
    out.origin.reserve(text.origin.size());
    out.whole = text.whole;
    const auto copy = [&](size_t begin, size_t end) {
      out.text.append(text.text, begin, end - begin);
      out.origin.insert(out.origin.end(), text.origin.begin() + static_cast<std::ptrdiff_t>(begin),
                        text.origin.begin() + static_cast<std::ptrdiff_t>(end));
    };
    const auto replace = [&](size_t end) {  // what is put in shares the place of the last replaced character
      out.text += content_;
      out.origin.resize(out.text.size(), end > 0 ? text.origin[end - 1] : Origin{text.whole.begin, text.whole.begin});
    };
    if (!pattern_.literal().empty()) {
      replaceLiteral(text, copy, replace);
    } else {
      Regex::Matcher(pattern_.regex()).forEachPart(text.text, job, [&](size_t begin, size_t end, bool isMatch) {
        if (isMatch) {
          replace(end);
        } else {
          copy(begin, end);
        }
      });
    }
    text = std::move(out);
  }

 private:
  template <class Copy, class Replace>
  void replaceLiteral(const NormalText& text, const Copy& copy, const Replace& replace) const {
    const std::string& literal = pattern_.literal();
    size_t done = 0;
    for (size_t at = text.text.find(literal); at != std::string::npos; at = text.text.find(literal, done)) {
      copy(done, at);
      replace(at + literal.size());
      done = at + literal.size();
    }
    copy(done, text.text.size());
  }

  TextPattern pattern_;
  std::string content_;
};

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const JsonField& field)
      : cleans_(field.boolean("clean_text", true)),
        spacesChinese_(field.boolean("handle_chinese_chars", true)),
        lowercases_(field.boolean("lowercase", true)),
        stripsAccents_(field.boolean("strip_accents", lowercases_)) {}

  void apply(NormalText& text, Job&) const override {
    if (cleans_) {
      text.filter([](char32_t c) { return c == '\t' || c == '\n' || c == '\r' || (c != 0xFFFD && !isControl(c)); });
      mapText(text, [](char32_t c) { return isWhitespace(c) ? std::string(" ") : std::string(); });
    }
    if (spacesChinese_) spaceChinese(text);
    if (stripsAccents_) {
      applyUnicodeForm(text, UnicodeForm::nfd);
      text.filter([](char32_t c) { return !isNonspacingMark(c); });
    }
    if (lowercases_) lowercase(text);
  }

 private:
  /// " c ": the first space takes the place of c, and c and the second one follow it.
  static void spaceChinese(NormalText& text) {
    mapText(text, [](char32_t c) { return isChineseCharacter(c) ? " " + utf8Of(c) + " " : std::string(); });
  }

  bool cleans_, spacesChinese_, lowercases_, stripsAccents_;
};

/// The character clean-up of Google's NMT tools.
class NmtNormalizer final : public Normalizer {
 public:
  void apply(NormalText& text, Job&) const override {
    text.filter([](char32_t c) {
      return !((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F);
    });
    mapText(text, [](char32_t c) {
      const bool isSpace = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 ||
                           c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      return isSpace ? std::string(" ") : std::string();
    });
  }
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  void apply(NormalText& text, Job&) const override {
    std::string out;
    std::vector<Origin> origin;
    for (size_t at = 0; at < text.text.size(); ++at) {
      appendUtf8(out, alphabet_.charOf(static_cast<uint8_t>(text.text[at])));
      origin.resize(out.size(), text.origin[at]);
    }
    text.text = std::move(out);
    text.origin = std::move(origin);
  }

 private:
  ByteAlphabet alphabet_;
};

class SequenceNormalizer final : public Normalizer {
 public:
  SequenceNormalizer(const JsonField& list, int depth) {
    for (size_t i = 0; i < list.count(); ++i) {
      if (auto step = makeNormalizer(list.element(i), depth + 1)) steps_.push_back(std::move(step));
    }
  }
  void apply(NormalText& text, Job& job) const override {
    for (const auto& step : steps_) {
      job.checkpoint();
      step->apply(text, job);
    }
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<const Normalizer> makeNormalizer(const JsonField& field, int depth) {
  if (field.isNull()) return nullptr;
  if (depth > kDeepestNesting) field.fail("normalizers are nested too deeply");
  const std::string type = field.at("type").string();
  if (type == "Sequence") return std::make_unique<SequenceNormalizer>(field.at("normalizers"), depth);
  if (type == "NFC") return std::make_unique<FormNormalizer>(UnicodeForm::nfc);
  if (type == "NFD") return std::make_unique<FormNormalizer>(UnicodeForm::nfd);
  if (type == "NFKC") return std::make_unique<FormNormalizer>(UnicodeForm::nfkc);
  if (type == "NFKD") return std::make_unique<FormNormalizer>(UnicodeForm::nfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<StripAccentsNormalizer>();
  if (type == "Strip") return std::make_unique<StripNormalizer>(field.boolean("strip_left", true), field.boolean("strip_right", true));
  if (type == "Prepend") return std::make_unique<PrependNormalizer>(field.at("prepend").string());
  if (type == "Replace") return std::make_unique<ReplaceNormalizer>(field);
  if (type == "BertNormalizer") return std::make_unique<BertNormalizer>(field);
  if (type == "Nmt") return std::make_unique<NmtNormalizer>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  field.fail(
      "the normalizer \"" + type + "\" is not supported",
      "supported: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, BertNormalizer, Nmt, ByteLevel; token "
      "ids can be given directly");
}

}  // namespace headscope::core
