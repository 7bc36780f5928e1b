#pragma once
// LoraStacks: one head's change dW = [D_a; C_b^T F_a]^T [C_a^T F_b,after; D_b] (a the query or value side, b the key or output side, with
// the symbols of lora_sides.h) as Gram matrices of the two stacks, the halves brought to one size, and what the terms' norms need of them.
#include "core/weights/dense.h"
#include "core/weights/lora_sides.h"

namespace headscope::core {

struct LoraStacks {
  DoubleMatrix left, right;                // [r_a + r_b, r_a + r_b]
  DoubleMatrix leftSecond;                 // C_b^T F_a F_a^T C_b [r_b, r_b], not scaled
  DoubleMatrix rightBase;                  // C_a^T F_b F_b^T C_a [r_a, r_a], not scaled: the right stack's first before its side changed
  DoubleMatrix middle, middleEnd;          // C_a^T C_b and that times D_b D_b^T [r_a, r_b]
  double firstScale = 1, secondScale = 1;  // what D_a and C_b^T F_a were multiplied by; their partners by the inverse

  LoraStacks() = default;
  /// About 10 k^2 r operations of heads of width k and ranks r.
  LoraStacks(const HeadSide& a, const HeadSide& b);
};

}  // namespace headscope::core
