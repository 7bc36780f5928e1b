#include "core/tokenizer/decoder.h"

#include <algorithm>

#include "core/base/job.h"
#include "core/tokenizer/byte_alphabet.h"
#include "core/tokenizer/text_pattern.h"
#include "core/tokenizer/unicode.h"

namespace headscope::core {
namespace {

constexpr int kDeepestNesting = 16;

void replaceAll(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  if (done == 0) return;
  out.append(text, done);
  text = std::move(out);
}

/// English spacing around punctuation and contractions, in the reference's order.
void cleanUp(std::string& text) {
  replaceAll(text, " .", ".");
  replaceAll(text, " ?", "?");
  replaceAll(text, " !", "!");
  replaceAll(text, " ,", ",");
  replaceAll(text, " ' ", "'");
  replaceAll(text, " n't", "n't");
  replaceAll(text, " 'm", "'m");
  replaceAll(text, " do not", " don't");
  replaceAll(text, " 's", "'s");
  replaceAll(text, " 've", "'ve");
  replaceAll(text, " 're", "'re");
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

/// The byte of "<0x41>", -1 for other pieces.
int byteOfPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return -1;
  int value = 0;
  for (const char c : piece.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

class ByteLevelDecoder final : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    std::string bytes;
    for (std::string& piece : pieces) {
      applyToOne(piece);
      bytes += piece;
    }
    return {repairUtf8(bytes)};
  }
  void applyToOne(std::string& piece) const override {
    std::string bytes;
    if (alphabet_.appendBytes(bytes, piece)) piece = std::move(bytes);
  }

 private:
  ByteAlphabet alphabet_;
};

class WordPieceDecoder final : public Decoder {
 public:
  explicit WordPieceDecoder(const JsonField& field) : prefix_(field.string("prefix", "##")), cleansUp_(field.boolean("cleanup", true)) {}
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0) {
        if (pieces[i].starts_with(prefix_)) {
          pieces[i].erase(0, prefix_.size());
        } else {
          pieces[i] = std::string(" ").append(pieces[i]);
        }
      }
      if (cleansUp_) cleanUp(pieces[i]);
    }
    return pieces;
  }
  void applyToOne(std::string& piece) const override {
    if (piece.size() > prefix_.size() && piece.starts_with(prefix_)) piece.erase(0, prefix_.size());
  }

 private:
  std::string prefix_;
  bool cleansUp_;
};

class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(const JsonField& field) : suffix_(field.string("suffix", "</w>")) {}
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    for (size_t i = 0; i < pieces.size(); ++i) replaceAll(pieces[i], suffix_, i + 1 == pieces.size() ? "" : " ");
    return pieces;
  }
  void applyToOne(std::string& piece) const override { replaceAll(piece, suffix_, " "); }

 private:
  std::string suffix_;
};

class MetaspaceDecoder final : public Decoder {
 public:
  explicit MetaspaceDecoder(const JsonField& field)
      : mark_(field.has("replacement") ? field.at("replacement").character() : "\xE2\x96\x81") {
    std::string scheme = field.boolean("add_prefix_space", true) ? "always" : "never";
    if (field.has("prepend_scheme")) scheme = field.at("prepend_scheme").string();
    dropsFirst_ = scheme != "never";
  }
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    for (size_t i = 0; i < pieces.size(); ++i) replaceAll(pieces[i], mark_, i == 0 && dropsFirst_ ? "" : " ");
    return pieces;
  }
  void applyToOne(std::string& piece) const override { replaceAll(piece, mark_, " "); }

 private:
  std::string mark_;
  bool dropsFirst_;
};

class ByteFallbackDecoder final : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (isValidUtf8(bytes)) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& piece : pieces) {
      const int byte = byteOfPiece(piece);
      if (byte >= 0) {
        bytes.push_back(static_cast<char>(byte));
      } else {
        flush();
        out.push_back(std::move(piece));
      }
    }
    flush();
    return out;
  }
  void applyToOne(std::string& piece) const override {
    const int byte = byteOfPiece(piece);
    if (byte >= 0) piece.assign(1, static_cast<char>(byte));
  }
};

class FuseDecoder final : public Decoder {
 public:
  std::vector<std::string> apply(std::vector<std::string> pieces) const override { return {joined(pieces)}; }
  void applyToOne(std::string&) const override {}
};

class ReplaceDecoder final : public Decoder {
 public:
  explicit ReplaceDecoder(const JsonField& field) : pattern_(field.at("pattern")), content_(field.at("content").string()) {}
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    for (std::string& piece : pieces) applyToOne(piece);
    return pieces;
  }
  void applyToOne(std::string& piece) const override {
    if (pattern_.matchesNothing() || piece.empty()) return;
    if (!pattern_.literal().empty()) return replaceAll(piece, pattern_.literal(), content_);
    std::string out;
    Job job;
    const std::string valid = isValidUtf8(piece) ? piece : repairUtf8(piece);
    Regex::Matcher(pattern_.regex()).forEachPart(valid, job, [&](size_t begin, size_t end, bool isMatch) {
      if (isMatch) {
        out += content_;
      } else {
        out.append(valid, begin, end - begin);
      }
    });
    piece = std::move(out);
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

/// Takes up to `start` characters from the start of each piece and up to `stop` from its end, as long as they are `content`.
class StripDecoder final : public Decoder {
 public:
  explicit StripDecoder(const JsonField& field)
      : content_(field.at("content").character()), start_(field.at("start").integer()), stop_(field.at("stop").integer()) {}
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    for (std::string& piece : pieces) {
      size_t begin = 0, end = piece.size();
      for (int64_t i = 0; i < start_ && std::string_view(piece).substr(begin).starts_with(content_); ++i) begin += content_.size();
      for (int64_t i = 0;
           i < stop_ && end >= begin + content_.size() && std::string_view(piece).substr(begin, end - begin).ends_with(content_); ++i) {
        end -= content_.size();
      }
      piece = piece.substr(begin, end - begin);
    }
    return pieces;
  }
  void applyToOne(std::string&) const override {}  // what is stripped is at the ends of the text, not of a token within it

 private:
  std::string content_;
  int64_t start_, stop_;
};

class CtcDecoder final : public Decoder {
 public:
  explicit CtcDecoder(const JsonField& field)
      : padding_(field.string("pad_token", "<pad>")),
        delimiter_(field.string("word_delimiter_token", "|")),
        cleansUp_(field.boolean("cleanup", true)) {}
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
    for (std::string& piece : pieces) {
      replaceAll(piece, padding_, "");
      if (!cleansUp_) continue;
      cleanUp(piece);
      replaceAll(piece, delimiter_, " ");
    }
    std::erase(pieces, std::string());
    return pieces;
  }
  void applyToOne(std::string& piece) const override {
    if (cleansUp_) replaceAll(piece, delimiter_, " ");
  }

 private:
  std::string padding_, delimiter_;
  bool cleansUp_;
};

class SequenceDecoder final : public Decoder {
 public:
  SequenceDecoder(const JsonField& list, int depth) {
    for (size_t i = 0; i < list.count(); ++i) {
      if (auto step = makeDecoder(list.element(i), depth + 1)) steps_.push_back(std::move(step));
    }
  }
  std::vector<std::string> apply(std::vector<std::string> pieces) const override {
    for (const auto& step : steps_) pieces = step->apply(std::move(pieces));
    return pieces;
  }
  void applyToOne(std::string& piece) const override {
    for (const auto& step : steps_) step->applyToOne(piece);
  }

 private:
  std::vector<std::unique_ptr<const Decoder>> steps_;
};

}  // namespace

std::unique_ptr<const Decoder> makeDecoder(const JsonField& field, int depth) {
  if (field.isNull()) return nullptr;
  if (depth > kDeepestNesting) field.fail("decoders are nested too deeply");
  const std::string type = field.at("type").string();
  if (type == "Sequence") return std::make_unique<SequenceDecoder>(field.at("decoders"), depth);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "WordPiece") return std::make_unique<WordPieceDecoder>(field);
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(field);
  if (type == "Metaspace") return std::make_unique<MetaspaceDecoder>(field);
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Replace") return std::make_unique<ReplaceDecoder>(field);
  if (type == "Strip") return std::make_unique<StripDecoder>(field);
  if (type == "CTC") return std::make_unique<CtcDecoder>(field);
  field.fail("the decoder \"" + type + "\" is not supported",
             "supported: Sequence, ByteLevel, WordPiece, BPEDecoder, Metaspace, ByteFallback, Fuse, Replace, Strip, CTC");
}

}  // namespace headscope::core
