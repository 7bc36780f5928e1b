#include "core/tokenizer/regex_syntax.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/tokenizer/unicode.h"
#include "core/tokenizer/unicode_versions.h"

namespace headscope::core {
namespace {

constexpr int kDeepestNesting = 100;
// Members of a bracket expression. White_Space; PCRE2's own \s also has U+180E.
constexpr std::string_view kSpaces = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWords =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
// Outside of brackets \w and \b also take Latin-1's superscripts and fractions.
constexpr std::string_view kLatinNumbers = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
constexpr int kUnicodeVersion = 16;
constexpr std::string_view kHexDigits = "0-9A-Fa-f";

std::string bracket(std::string_view members, bool isNegated) { return (isNegated ? "[^" : "[") + std::string(members) + "]"; }

/// Members of a bracket expression that stand for \w.
std::string wordMembers() {
  std::string members(kWords);
  for (const char* category : {"L", "M", "Nd", "Nl", "Pc"}) members += addedMembers(category, kUnicodeVersion);
  return members;
}

std::string propertyName(std::string_view name) {
  std::string folded;
  for (const char c : name) {
    if (c != '_' && c != '-' && c != ' ') folded.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 52> kNames{{
      {"letter", "L"},
      {"uppercaseletter", "Lu"},
      {"lowercaseletter", "Ll"},
      {"titlecaseletter", "Lt"},
      {"modifierletter", "Lm"},
      {"otherletter", "Lo"},
      {"mark", "M"},
      {"combiningmark", "M"},
      {"nonspacingmark", "Mn"},
      {"spacingmark", "Mc"},
      {"enclosingmark", "Me"},
      {"number", "N"},
      {"decimalnumber", "Nd"},
      {"letternumber", "Nl"},
      {"othernumber", "No"},
      {"punctuation", "P"},
      {"punct", "P"},
      {"connectorpunctuation", "Pc"},
      {"dashpunctuation", "Pd"},
      {"openpunctuation", "Ps"},
      {"closepunctuation", "Pe"},
      {"initialpunctuation", "Pi"},
      {"finalpunctuation", "Pf"},
      {"otherpunctuation", "Po"},
      {"symbol", "S"},
      {"mathsymbol", "Sm"},
      {"currencysymbol", "Sc"},
      {"modifiersymbol", "Sk"},
      {"othersymbol", "So"},
      {"separator", "Z"},
      {"spaceseparator", "Zs"},
      {"lineseparator", "Zl"},
      {"paragraphseparator", "Zp"},
      {"other", "C"},
      {"control", "Cc"},
      {"cntrl", "Cc"},
      {"format", "Cf"},
      {"surrogate", "Cs"},
      {"privateuse", "Co"},
      {"unassigned", "Cn"},
      {"alpha", "Alphabetic"},
      {"digit", "Nd"},
      {"lower", "Lowercase"},
      {"upper", "Uppercase"},
      {"space", "White_Space"},
      {"whitespace", "White_Space"},
      {"any", "Any"},
      {"han", "sc:Han"},
      {"hiragana", "sc:Hiragana"},
      {"katakana", "sc:Katakana"},
      {"hangul", "sc:Hangul"},
      {"thai", "sc:Thai"},
  }};
  for (const auto& [from, to] : kNames) {
    if (folded == from) return std::string(to);
  }
  // Scripts: the property Script, where PCRE2's bare name means Script_Extensions.
  static constexpr std::array<std::string_view, 24> kScripts{"latin",   "greek",      "cyrillic", "armenian",  "hebrew",    "arabic",
                                                             "syriac",  "devanagari", "bengali",  "gurmukhi",  "gujarati",  "oriya",
                                                             "tamil",   "telugu",     "kannada",  "malayalam", "sinhala",   "lao",
                                                             "tibetan", "myanmar",    "georgian", "common",    "inherited", "bopomofo"};
  if (std::find(kScripts.begin(), kScripts.end(), folded) != kScripts.end()) return "sc:" + folded;
  return std::string(name);
}

/// A set of characters: members of a bracket expression, or a pattern of its own.
struct Set {
  std::string members;
  bool isNegated;
  std::string pattern;
  std::string asPattern() const { return pattern.empty() ? bracket(members, isNegated) : pattern; }
};

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error("the regular expression " + std::string(in_.substr(0, 200)) + " can't be used: " + what, where_);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  void step() {
    const char c = in_[at_];
    if (c == '\\') {
      atom_ = out_.size();
      out_ += escape();
    } else if (c == '[') {
      atom_ = out_.size();
      out_ += characterClass(0);
    } else if (c == '(') {
      groups_.push_back(out_.size());
      openGroup();
    } else if (c == ')') {
      atom_ = out_.size();
      if (!groups_.empty()) {
        atom_ = groups_.back();
        groups_.pop_back();
      }
      out_.push_back(c);
      ++at_;
    } else if (c == '{' && repetition()) {
      // written by repetition()
    } else if (c == '*' || c == '+' || c == '?' || c == '|') {
      out_.push_back(c);
      ++at_;
    } else {
      atom_ = out_.size();
      const uint32_t length = utf8Length(c);
      out_ += in_.substr(at_, length);
      at_ += length;
    }
  }

  /// "(?m" and its like: Ruby's m is PCRE2's s.
  void openGroup() {
    out_.push_back('(');
    ++at_;
    if (peek() != '?') return;
    size_t end = at_ + 1;
    while (end < in_.size() && (std::isalpha(static_cast<unsigned char>(in_[end])) || in_[end] == '-')) ++end;
    if (end >= in_.size() || (in_[end] != ':' && in_[end] != ')')) return;
    for (; at_ < end; ++at_) out_.push_back(in_[at_] == 'm' ? 's' : in_[at_]);
  }

  /// {n}, {n,}, {n,m}, {,m} after an atom; false when the brace is a plain character.
  bool repetition() {
    size_t end = at_ + 1;
    std::string low, high;
    bool hasComma = false;
    for (; end < in_.size() && in_[end] != '}'; ++end) {
      if (in_[end] == ',' && !hasComma) {
        hasComma = true;
      } else if (std::isdigit(static_cast<unsigned char>(in_[end])) != 0) {
        (hasComma ? high : low).push_back(in_[end]);
      } else {
        return false;
      }
    }
    if (end >= in_.size() || (low.empty() && high.empty()) || atom_ > out_.size()) return false;
    out_ += "{" + (low.empty() ? std::string("0") : low) + (hasComma ? "," + high : "") + "}";
    at_ = end + 1;
    if (peek() == '+' || (peek() == '?' && !hasComma)) {  // a repetition of the repetition
      out_.insert(atom_, "(?:");
      out_.push_back(')');
    }
    return true;
  }

  /// The hexadecimal digits of \uXXXX as \x{XXXX}; at_ stands on the u.
  std::string unicodeEscape() {
    std::string digits;
    ++at_;
    while (digits.size() < 4 && std::isxdigit(static_cast<unsigned char>(peek())) != 0) digits.push_back(in_[at_++]);
    if (digits.size() != 4) fail("\\u needs four hexadecimal digits");
    return "\\x{" + digits + "}";
  }

  /// \p{...} and \P{...}; at_ stands on the letter.
  Set property() {
    bool isNegated = in_[at_] == 'P';
    ++at_;
    std::string name;
    if (peek() == '{') {
      const size_t close = in_.find('}', at_);
      if (close == std::string_view::npos) fail("\\p without its closing brace");
      name = in_.substr(at_ + 1, close - at_ - 1);
      at_ = close + 1;
    } else {
      name = std::string(1, peek());
      ++at_;
    }
    if (!name.empty() && name[0] == '^') {
      isNegated = !isNegated;
      name.erase(0, 1);
    }
    return setOf(propertyName(name), isNegated);
  }

  /// A property with the characters that its newer version adds.
  static Set setOf(const std::string& name, bool isNegated) {
    if (name == "C" || name == "Cn") {  // what was assigned since is no longer unassigned
      std::string assigned;
      for (const char* category : {"L", "M", "N", "P", "S", "Z"}) assigned += addedMembers(category, kUnicodeVersion);
      if (name == "Cn") assigned += addedMembers("C", kUnicodeVersion);
      return isNegated ? Set{assigned + "\\P{" + name + "}", false, {}}
                       : Set{{}, false, "(?:(?!" + bracket(assigned, false) + ")\\p{" + name + "})"};
    }
    std::string members = "\\p{" + name + "}";
    if (name.size() <= 2) members += addedMembers(name, kUnicodeVersion);
    if (name == "sc:Han") members += R"(\x{2b739}\x{2ebf0}-\x{2ee5d})";
    if (name == "sc:Hiragana") members += R"(\x{1b132})";
    if (name == "sc:Katakana") members += R"(\x{1b155})";
    return {members, isNegated, {}};
  }

  std::string escape() {
    ++at_;
    const char c = peek();
    switch (c) {
      case '\0':
        fail("it ends in a backslash");
      case 's':
      case 'S':
        return ++at_, bracket(kSpaces, c == 'S');
      case 'w':
      case 'W':
        return ++at_, bracket(wordMembers() + std::string(kLatinNumbers), c == 'W');
      case 'd':
      case 'D':
        return ++at_, bracket("\\p{Nd}" + addedMembers("Nd", kUnicodeVersion), c == 'D');
      case 'h':
      case 'H':
        return ++at_, bracket(kHexDigits, c == 'H');
      case 'b':
      case 'B': {
        ++at_;
        const std::string word = bracket(wordMembers() + std::string(kLatinNumbers), false);
        const std::string before = "(?<=" + word + ")", notBefore = "(?<!" + word + ")", after = "(?=" + word + ")",
                          notAfter = "(?!" + word + ")";
        return c == 'b' ? "(?:" + before + notAfter + "|" + notBefore + after + ")"
                        : "(?:" + before + after + "|" + notBefore + notAfter + ")";
      }
      case 'u':
        return unicodeEscape();
      case 'p':
      case 'P':
        return property().asPattern();
      default:
        break;
    }
    const uint32_t length = std::min<uint32_t>(utf8Length(c), static_cast<uint32_t>(in_.size() - at_));
    std::string copied = "\\" + std::string(in_.substr(at_, length));
    if (length > 1) copied.erase(0, 1);
    at_ += length;
    return copied;
  }

  /// One member of a class: text for a bracket expression, or (in `alternatives`) a pattern of its own that takes one character.
  void classEscape(std::string& members, std::vector<std::string>& alternatives) {
    ++at_;
    const char c = peek();
    const auto either = [&](std::string_view set, bool isNegated) {
      ++at_;
      if (isNegated) {
        alternatives.push_back(bracket(set, true));
      } else {
        members += set;
      }
    };
    if (c == 's' || c == 'S') return either(kSpaces, c == 'S');
    if (c == 'w' || c == 'W') return either(wordMembers(), c == 'W');
    if (c == 'd' || c == 'D') return either("\\p{Nd}" + addedMembers("Nd", kUnicodeVersion), c == 'D');
    if (c == 'h' || c == 'H') return either(kHexDigits, c == 'H');
    if (c == 'p' || c == 'P') {
      const Set set = property();
      if (set.pattern.empty() && !set.isNegated) {
        members += set.members;
      } else {
        alternatives.push_back(set.asPattern());
      }
      return;
    }
    --at_;
    if (c == 'b') {  // backspace within a class
      at_ += 2;
      members += "\\x{8}";
    } else {
      members += escape();
    }
  }

  std::string characterClass(int depth) {
    if (depth > kDeepestNesting) fail("its classes are nested too deeply");
    ++at_;
    const bool isNegated = peek() == '^';
    if (isNegated) ++at_;
    std::vector<std::string> intersected;
    std::string members;
    std::vector<std::string> alternatives;
    bool isFirst = true;
    for (;; isFirst = false) {
      if (at_ >= in_.size()) fail("a class without its closing bracket");
      const char c = peek();
      if (c == ']' && !isFirst) break;
      if (c == '\\') {
        classEscape(members, alternatives);
      } else if (c == '[' && peek(1) == ':' && in_.find(":]", at_ + 2) != std::string_view::npos) {
        const size_t close = in_.find(":]", at_ + 2);
        const std::string_view name = in_.substr(at_, close + 2 - at_);
        if (name == "[:punct:]") {  // there also symbols
          members += "\\p{P}\\p{S}" + addedMembers("P", kUnicodeVersion) + addedMembers("S", kUnicodeVersion);
        } else {
          members += name;
        }
        at_ = close + 2;
      } else if (c == '[') {
        alternatives.push_back(characterClass(depth + 1));
      } else if (c == '&' && peek(1) == '&') {
        at_ += 2;
        intersected.push_back(unionOf(members, alternatives));
        members.clear();
        alternatives.clear();
      } else {
        if (c == ']') members.push_back('\\');
        const uint32_t length = utf8Length(c);
        members += in_.substr(at_, length);
        at_ += length;
      }
    }
    ++at_;
    if (intersected.empty() && alternatives.empty()) return bracket(members, isNegated);
    std::string whole = unionOf(members, alternatives);
    for (const std::string& other : intersected) whole = "(?:(?=" + other + ")" + whole + ")";
    return isNegated ? "(?:(?!" + whole + ")(?s:.))" : whole;
  }

  static std::string unionOf(const std::string& members, const std::vector<std::string>& alternatives) {
    if (alternatives.empty()) return members.empty() ? "(?!)" : bracket(members, false);
    std::string out = "(?:";
    for (const std::string& alternative : alternatives) out += alternative + "|";
    return out + (members.empty() ? "(?!)" : bracket(members, false)) + ")";
  }

  std::string_view in_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0;
  size_t atom_ = std::string::npos;  // where in out_ the last atom starts
  std::vector<size_t> groups_;
};

}  // namespace

std::string pcreFromOniguruma(std::string_view pattern, const std::string& where) { return Translator(pattern, where).run(); }

}  // namespace headscope::core
