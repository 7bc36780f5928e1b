#pragma once
// From Oniguruma's Ruby syntax, in which tokenizer.json keeps its patterns, to PCRE2's.
//
// Differences that are rewritten: what \s, \w, \b and \h mean, (?m) (dot matches newlines), {n,m}+ and {n}? (repetition of the
// repetition, not possessive or lazy), {,n}, \uXXXX, names of properties and scripts, classes within classes and && in them.
#include <string>
#include <string_view>

namespace headscope::core {

/// Throws Error naming `where` for a pattern that is broken in a way that keeps it from being rewritten; the rest is left to
/// PCRE2's own check.
std::string pcreFromOniguruma(std::string_view pattern, const std::string& where);

}  // namespace headscope::core
