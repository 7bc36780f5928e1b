#pragma once
// Regex: a regular expression of a tokenizer.json (Oniguruma, Ruby syntax), run by PCRE2 with its just-in-time compiler.
//
// The pattern is rewritten where the two dialects differ (see regex_syntax.h). Matching is bounded: a pattern that backtracks
// without end is an Error that names it. A Regex is immutable and thread-safe; a Matcher belongs to one thread and may be
// used for many subjects in turn.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/job.h"

namespace headscope::core {

class Regex {
 public:
  /// Throws Error naming `where` and the pattern when it can't be compiled.
  Regex(std::string pattern, std::string where);
  /// A pattern that matches `literal` itself.
  static Regex ofLiteral(std::string_view literal, std::string where);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  const std::string& pattern() const;

  class Matcher {
   public:
    explicit Matcher(const Regex& regex);
    ~Matcher();
    Matcher(Matcher&&) noexcept;
    Matcher& operator=(Matcher&&) noexcept;

    /// Calls part(begin, end, isMatch) for every match and every stretch between matches, in order, covering the subject.
    /// An empty subject gives one empty part that is no match; an empty match right after another match is skipped.
    void forEachPart(std::string_view subject, Job& job, const std::function<void(size_t, size_t, bool)>& part);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace headscope::core
