#pragma once
// Unicode versions: the reference takes each of its character tables from another Unicode version (regular expressions 16, case
// and numbers 17, normalization forms and marks about 9, BERT's punctuation and marks about 8), while utf8proc has 15 and PCRE2 14.
// Here is what lies between, so that new emoji and new scripts split as they do there.
#include <cstdint>
#include <string>
#include <string_view>

namespace headscope::core {

/// The general category of a character that was assigned after Unicode 14 and up to `version` (16 or 17); "" for others.
std::string_view addedCategory(char32_t c, int version);
/// These characters of a category ("L", "Lu", ...) as members of a bracket expression.
std::string addedMembers(std::string_view category, int version);
/// Lower case that came after Unicode 14; 0 when there is none.
char32_t addedLowercase(char32_t c);

/// Properties in Unicode 15 that the reference's older tables don't have.
bool lacksDecomposition(char32_t c);
bool lacksCombiningClass(char32_t c);
bool isLaterMark(char32_t c);
bool isLaterNonspacingMark(char32_t c);
bool isLaterControl(char32_t c);
bool isLaterPunctuation(char32_t c);

}  // namespace headscope::core
