#include "core/attention/telling_heads.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

namespace headscope::core {
namespace {

constexpr double kTelling = 0.3;
constexpr double kOnlySink = 0.6;  // a head that gives the first token more than this rests there

struct Kind {
  const char* score;
  const char* words;
};
constexpr Kind kKinds[] = {{"induction", "looks at what followed this token before"},
                           {"previous", "looks at the token before"},
                           {"duplicate", "looks at the same token earlier"},
                           {"self", "looks at its own token"},
                           {"first", "rests on the first token"}};

std::vector<TellingHead> ranked(const HeadScores& scores, const Kind& kind) {
  std::vector<TellingHead> heads;
  if (!scores.has(kind.score)) return heads;
  for (int64_t layer = 0; layer < scores.layers(); ++layer) {
    for (int64_t head = 0; head < scores.heads(); ++head) {
      const double value = scores.at(kind.score, {layer, head});
      if (std::isfinite(value) && value >= kTelling) heads.push_back({{layer, head}, kind.score, kind.words, value});
    }
  }
  std::stable_sort(heads.begin(), heads.end(), [](const TellingHead& a, const TellingHead& b) { return a.value > b.value; });
  return heads;
}

}  // namespace

HeadRef firstHeadToShow(const HeadScores& scores) {
  for (const Kind& kind : {kKinds[0], kKinds[1]}) {
    const auto heads = ranked(scores, kind);
    if (!heads.empty()) return heads.front().head;
  }
  std::optional<double> lowest;
  HeadRef found;
  if (!scores.has("entropy")) return found;
  for (int64_t layer = 0; layer < scores.layers(); ++layer) {
    for (int64_t head = 0; head < scores.heads(); ++head) {
      const double entropy = scores.at("entropy", {layer, head});
      const bool isSink = scores.has("first") && scores.at("first", {layer, head}) > kOnlySink;
      if (std::isfinite(entropy) && !isSink && (!lowest || entropy < *lowest)) lowest = entropy, found = {layer, head};
    }
  }
  return found;
}

std::vector<TellingHead> tellingHeads(const HeadScores& scores, int each) {
  std::vector<TellingHead> out;
  std::set<HeadRef> taken;
  for (const Kind& kind : kKinds) {
    int count = 0;
    for (const TellingHead& head : ranked(scores, kind)) {
      if (count >= each) break;
      if (!taken.insert(head.head).second) continue;
      out.push_back(head);
      ++count;
    }
  }
  return out;
}

}  // namespace headscope::core
