#pragma once
// Prompt: what a model is run on: tokens (with their text, for people) or an image. Made by tokenizing a text, from ids, from
// random repeated tokens, or from pixels; immutable afterwards.
#include <cstdint>
#include <string>
#include <vector>

#include "core/tensor/matrix.h"

namespace headscope::core {

struct Token {
  int32_t id = 0;
  std::string piece;           // vocabulary entry as stored; "" when there is no tokenizer
  std::string bytes;           // what the token stands for, raw bytes (may be invalid UTF-8 on its own)
  int64_t begin = 0, end = 0;  // code points of the text, begin == end for tokens that the tokenizer added
  bool isSpecial = false;
  int32_t segment = 0;  // token type (BERT)
};

struct Prompt {
  std::string text;                // "" when made from ids
  std::vector<Token> tokens;       // [N]; for images one entry a position: class token, then patches row by row
  std::vector<std::string> notes;  // what was cut and why; nothing is cut silently
  Matrix pixels;                   // image input: [channels, height*width], normalised; empty otherwise

  int64_t count() const { return static_cast<int64_t>(tokens.size()); }
  std::vector<int32_t> ids() const {
    std::vector<int32_t> out;
    out.reserve(tokens.size());
    for (const Token& t : tokens) out.push_back(t.id);
    return out;
  }
};

}  // namespace headscope::core
