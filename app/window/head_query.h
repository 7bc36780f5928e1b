#pragma once
// HeadQuery: what one types to find heads: "3.5", "3.*", "induction>0.4", several joined by commas or "and" (all must hold).
#include <optional>
#include <string>
#include <vector>

#include "core/attention/head_scores.h"

namespace headscope::app {

class HeadQuery {
 public:
  /// Throws core::Error saying what was not understood. Score names may be shortened as long as they start a name of `names`.
  static HeadQuery parse(const std::string& text, const std::vector<std::string>& names);

  /// scores may be null: then conditions on scores never hold.
  bool matches(core::HeadRef head, const core::HeadScores* scores) const;
  bool isEmpty() const { return terms_.empty(); }
  /// The first score that it asks about, "" none, and whether it asks for low values.
  std::string score() const;
  bool wantsLow() const;

 private:
  struct Term {
    std::optional<int64_t> layer, head;  // of "3.5"; absent: any
    std::string score;                   // of "induction>0.4"; "" none
    char relation = '>';                 // > < =
    double value = 0;
  };
  const Term* firstOnScore() const;  // null: none

  std::vector<Term> terms_;
};

/// "previous" -> "Previous token", "keys.0.9" -> "Keys for 90 %".
std::string scoreTitle(const std::string& name);
/// How the number is defined, in a sentence.
std::string scoreDefinition(const std::string& name);
/// For columns of a table: the same decimals for numbers of a size, at most three significant digits; a dash for NaN.
std::string columnNumber(double value);
/// 0 to 1 for a bar: a share of 1 where the score is one, else of the largest of all heads.
double barShare(const core::HeadScores& scores, const std::string& name, double value);

}  // namespace headscope::app
