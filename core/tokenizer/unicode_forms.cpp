#include "core/tokenizer/unicode_forms.h"

#include <utf8proc.h>

#include <algorithm>

#include "core/tokenizer/unicode.h"
#include "core/tokenizer/unicode_versions.h"

namespace headscope::core {
namespace {

using Change = NormalText::Change;

int combiningClass(char32_t c) {
  if (c < 0x300) return 0;
  const int itsClass = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
  return itsClass != 0 && lacksCombiningClass(c) ? 0 : itsClass;
}

void appendDecomposed(std::vector<Change>& out, char32_t c, bool isCompatible) {
  utf8proc_int32_t parts[32];
  int boundary = 0;
  const int options = UTF8PROC_DECOMPOSE | (isCompatible ? UTF8PROC_COMPAT : 0);
  const utf8proc_ssize_t count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 32, static_cast<utf8proc_option_t>(options), &boundary);
  if (count < 1 || count > 32 || (static_cast<char32_t>(parts[0]) != c && lacksDecomposition(c))) {
    out.push_back({c, 0});
    return;
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i) out.push_back({static_cast<char32_t>(parts[i]), i > 0 ? 1 : 0});
}

/// Runs of characters with a combining class, in the order of their classes.
void sortMarks(std::vector<Change>& changes) {
  for (size_t i = 0; i < changes.size();) {
    if (combiningClass(changes[i].c) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < changes.size() && combiningClass(changes[end].c) != 0) ++end;
    std::stable_sort(changes.begin() + static_cast<std::ptrdiff_t>(i), changes.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Change& a, const Change& b) { return combiningClass(a.c) < combiningClass(b.c); });
    i = end;
  }
}

/// The character that canonically equals the pair, 0 when there is none.
char32_t composed(char32_t first, char32_t second) {
  if (second < 0x300) return 0;
  utf8proc_int32_t pair[3] = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second), 0};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  if (utf8proc_normalize_utf32(pair, 2, options) != 1) return 0;
  const auto whole = static_cast<char32_t>(pair[0]);
  return lacksDecomposition(whole) ? 0 : whole;
}

/// Composition as in the Unicode standard, 3.11, on decomposed and ordered text.
std::vector<Change> recompose(const std::vector<Change>& in) {
  std::vector<Change> out;
  out.reserve(in.size());
  std::ptrdiff_t starter = -1;
  int lastClass = -1;  // of the character kept since the starter, -1: none
  for (const Change& step : in) {
    const int itsClass = combiningClass(step.c);
    if (starter >= 0 && (lastClass < 0 || lastClass < itsClass)) {
      Change& base = out[static_cast<size_t>(starter)];
      const char32_t whole = composed(base.c, step.c);
      if (whole != 0) {
        base = {whole, base.change + step.change - 1};
        continue;
      }
    }
    if (itsClass == 0) {
      starter = static_cast<std::ptrdiff_t>(out.size());
      lastClass = -1;
    } else if (starter >= 0) {
      lastClass = itsClass;
    }
    out.push_back(step);
  }
  return out;
}

/// A stretch that no normalization reaches beyond.
void applyToRegion(NormalText& region, UnicodeForm form) {
  const bool isCompatible = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  std::vector<Change> changes;
  changes.reserve(region.text.size());
  for (size_t at = 0; at < region.text.size();) {
    const DecodedChar c = decodeUtf8(region.text, at);
    appendDecomposed(changes, c.value, isCompatible);
    at += c.length;
  }
  sortMarks(changes);
  if (form == UnicodeForm::nfc || form == UnicodeForm::nfkc) changes = recompose(changes);
  region.transform(changes, 0);
}

}  // namespace

/// ASCII stays as it is, except a letter before a mark; so only the stretches around other characters are worked on.
void applyUnicodeForm(NormalText& text, UnicodeForm form) {
  const auto isPlain = [&](size_t i) { return static_cast<uint8_t>(text.text[i]) < 0x80; };
  if (isAscii(text.text)) return;
  NormalText out;
  out.whole = text.whole;
  out.text.reserve(text.text.size());
  out.origin.reserve(text.origin.size());
  const auto slice = [&](size_t begin, size_t end) {
    return NormalText{text.text.substr(begin, end - begin),
                      {text.origin.begin() + static_cast<std::ptrdiff_t>(begin), text.origin.begin() + static_cast<std::ptrdiff_t>(end)},
                      text.whole};
  };
  const auto add = [&](const NormalText& part) {
    out.text += part.text;
    out.origin.insert(out.origin.end(), part.origin.begin(), part.origin.end());
  };
  size_t done = 0;
  for (size_t at = 0; at < text.text.size();) {
    if (isPlain(at)) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < text.text.size() && !isPlain(end)) ++end;
    const size_t begin = at > done ? at - 1 : at;
    if (begin > done) add(slice(done, begin));
    NormalText region = slice(begin, end);
    applyToRegion(region, form);
    add(region);
    done = at = end;
  }
  if (done < text.text.size()) add(slice(done, text.text.size()));
  text = std::move(out);
}

}  // namespace headscope::core
