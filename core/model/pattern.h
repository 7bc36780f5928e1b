#pragma once
// Pattern: a regular expression out of an adapter's config, matched with bounded work. Python's syntax as far as PCRE2 shares it,
// which is all that module names need.
#include <memory>
#include <string>
#include <string_view>

namespace headscope::core {

class Pattern {
 public:
  /// Throws Error naming `where` (file and field) when the expression is broken or longer than 4096 bytes.
  Pattern(const std::string& expression, const std::string& where);
  /// True when the whole text matches. Throws Error when the expression needs unreasonable work.
  bool matchesWhole(std::string_view text) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
  std::string where_;
};

}  // namespace headscope::core
