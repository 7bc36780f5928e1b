#pragma once
// PostProcessor: what is done with the tokens of a text: special tokens around it, white space out of the offsets.
#include <memory>
#include <vector>

#include "core/tokenizer/json_fields.h"
#include "core/tokenizer/tokenizer.h"

namespace headscope::core {

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual void apply(std::vector<Encoding::Entry>& entries, bool withSpecial) const = 0;
  /// The tokens that are put before the text (single sequence), by id.
  virtual std::vector<int32_t> before() const { return {}; }
};

/// The "post_processor" of a tokenizer.json; null for none. Throws Error naming the field for what is broken or not supported.
std::unique_ptr<const PostProcessor> makePostProcessor(const JsonField& field, int depth = 0);

}  // namespace headscope::core
