#pragma once
// PreTokenizer: cuts the normalized text into the words that the model sees.
#include <memory>

#include "core/tokenizer/json_fields.h"
#include "core/tokenizer/tracked_text.h"

namespace headscope::core {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(TrackedText& text, Job& job) const = 0;
};

/// The "pre_tokenizer" of a tokenizer.json; null for none. Throws Error naming the field for what is broken or not supported.
std::unique_ptr<const PreTokenizer> makePreTokenizer(const JsonField& field, int depth = 0);

}  // namespace headscope::core
