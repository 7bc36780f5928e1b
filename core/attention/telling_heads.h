#pragma once
// Telling heads: which heads of a model show something that has a name, from their scores on one prompt. The head that the window
// selects first and the table that a run without a display prints come from here, so that they agree.
#include <string>
#include <vector>

#include "core/attention/head_scores.h"

namespace headscope::core {

struct TellingHead {
  HeadRef head;
  std::string score;  // "induction"
  std::string words;  // "looks at what followed this token last time"
  double value = 0;
};

/// The head to look at first: the highest induction score above 0.3, else the highest previous-token score above 0.3, else the head
/// with the lowest entropy that does not only look at the first token. {0, 0} for no scores at all.
HeadRef firstHeadToShow(const HeadScores& scores);

/// Up to `each` heads a score, scores in the order induction, previous, duplicate, self, first; only values of at least 0.3; a head
/// appears once, under its most telling score.
std::vector<TellingHead> tellingHeads(const HeadScores& scores, int each = 3);

}  // namespace headscope::core
