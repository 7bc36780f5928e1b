#include "core/tokenizer/text_pattern.h"

#include <algorithm>

namespace headscope::core {

CutBehaviour cutBehaviourOf(const JsonField& field) {
  const std::string name = field.string();
  if (name == "Removed" || name == "removed") return CutBehaviour::removed;
  if (name == "Isolated" || name == "isolated") return CutBehaviour::isolated;
  if (name == "MergedWithPrevious" || name == "merged_with_previous") return CutBehaviour::mergedWithPrevious;
  if (name == "MergedWithNext" || name == "merged_with_next") return CutBehaviour::mergedWithNext;
  if (name == "Contiguous" || name == "contiguous") return CutBehaviour::contiguous;
  field.fail("\"" + name + "\" is no known behaviour", "known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

void PartCollector::arrange() {
  if (behaviour_ == CutBehaviour::isolated) return;
  if (behaviour_ == CutBehaviour::removed) {
    std::erase_if(parts_, [](const Part& part) { return part.isMatch; });
    return;
  }
  const bool isReversed = behaviour_ == CutBehaviour::mergedWithNext;
  if (isReversed) std::reverse(parts_.begin(), parts_.end());
  std::vector<Part> merged;
  merged.reserve(parts_.size());
  bool previous = false;
  for (const Part& part : parts_) {
    const bool joins = behaviour_ == CutBehaviour::contiguous ? part.isMatch == previous : part.isMatch && !previous;
    if (joins && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, part.begin);
      merged.back().end = std::max(merged.back().end, part.end);
    } else {
      merged.push_back(part);
    }
    previous = part.isMatch;
  }
  if (isReversed) std::reverse(merged.begin(), merged.end());
  parts_ = std::move(merged);
}

Regex TextPattern::regexOf(const JsonField& field) {
  if (field.json().is_string()) return Regex::ofLiteral(field.string(), field.where());
  if (field.has("String")) return Regex::ofLiteral(field.at("String").string(), field.where());
  return Regex(field.at("Regex").string(), field.where());
}

TextPattern::TextPattern(const JsonField& field) : regex_(regexOf(field)) {
  if (field.json().is_string()) {
    literal_ = field.string();
  } else if (field.has("String")) {
    literal_ = field.at("String").string();
  }
  matchesNothing_ = literal_.empty() && (field.json().is_string() || field.has("String"));
}

}  // namespace headscope::core
