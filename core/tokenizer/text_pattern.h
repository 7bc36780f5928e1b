#pragma once
// TextPattern: {"String": ...} or {"Regex": ...} of a tokenizer.json, and how a text is cut by it.
#include <string>
#include <string_view>

#include "core/base/job.h"
#include "core/tokenizer/json_fields.h"
#include "core/tokenizer/regex.h"

namespace headscope::core {

enum class CutBehaviour { removed, isolated, mergedWithPrevious, mergedWithNext, contiguous };

CutBehaviour cutBehaviourOf(const JsonField& field);

/// Collects alternating parts (matches and stretches between) and gives them on as the behaviour says. Reusable.
class PartCollector {
 public:
  explicit PartCollector(CutBehaviour behaviour) : behaviour_(behaviour) {}
  void add(size_t begin, size_t end, bool isMatch) { parts_.push_back({begin, end, isMatch}); }
  /// Calls emit(begin, end) for what remains, in order, and starts over.
  template <class Emit>
  void flush(const Emit& emit) {
    arrange();
    for (const Part& part : parts_) emit(part.begin, part.end);
    parts_.clear();
  }

 private:
  struct Part {
    size_t begin, end;
    bool isMatch;
  };
  void arrange();
  CutBehaviour behaviour_;
  std::vector<Part> parts_;
};

class TextPattern {
 public:
  explicit TextPattern(const JsonField& field);
  const Regex& regex() const { return regex_; }
  /// An empty {"String": ""}, which matches nothing.
  bool matchesNothing() const { return matchesNothing_; }
  /// The literal of {"String"}, "" for a regex.
  const std::string& literal() const { return literal_; }

 private:
  static Regex regexOf(const JsonField& field);
  Regex regex_;
  std::string literal_;
  bool matchesNothing_;
};

}  // namespace headscope::core
