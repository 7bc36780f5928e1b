#pragma once
// Normalizer: what a tokenizer does to the text before it is split: case, Unicode forms, accents, spaces.
#include <memory>

#include "core/tokenizer/json_fields.h"
#include "core/tokenizer/tracked_text.h"

namespace headscope::core {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalText& text, Job& job) const = 0;
};

/// The "normalizer" of a tokenizer.json; null for none. Throws Error naming the field for what is broken or not supported.
std::unique_ptr<const Normalizer> makeNormalizer(const JsonField& field, int depth = 0);

}  // namespace headscope::core
