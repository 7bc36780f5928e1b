#pragma once
// Decoder: from pieces back to text.
#include <memory>
#include <string>
#include <vector>

#include "core/tokenizer/json_fields.h"

namespace headscope::core {

class Decoder {
 public:
  virtual ~Decoder() = default;
  /// The pieces after this step; the text is the last step's pieces joined.
  virtual std::vector<std::string> apply(std::vector<std::string> pieces) const = 0;
  /// Turns one piece into the bytes that it stands for in running text, as far as this step decides it.
  virtual void applyToOne(std::string& piece) const = 0;
};

/// The "decoder" of a tokenizer.json; null for none. Throws Error naming the field for what is broken or not supported.
std::unique_ptr<const Decoder> makeDecoder(const JsonField& field, int depth = 0);

}  // namespace headscope::core
