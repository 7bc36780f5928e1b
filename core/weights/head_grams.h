#pragma once
// HeadGrams: inner products of every head's rows of one stored map, straight from the checkpoint's numbers: a tile is decoded,
// packed in double and multiplied, and gone. HeadWeights decodes a whole layer to float32 first, which takes longer than the products
// themselves; this is for where only Gram matrices are wanted.
#include <vector>

#include "core/model/model.h"
#include "core/weights/dense.h"

namespace headscope::core {

class Job;

/// One map seen head by head: factor F_h [k, d] are rows [h k, (h + 1) k) of a map that reads the residual stream, or those inputs of the
/// output map, transposed (what the head writes).
struct HeadMap {
  const Linear* linear = nullptr;  // adapter merged where it has a change
  bool isOutput = false;
  int64_t heads = 0, width = 0;                   // k rows a head
  const std::vector<float>* modelGain = nullptr;  // of the columns, folded in; null: none
  const std::vector<float>* headGain = nullptr;   // of the rows of every head (Qwen 3); null or empty: none
  bool isCentred = false;                         // rows lose their mean over the model axis, after the gain and before headGain

  int64_t depth() const { return isOutput ? linear->outputs() : linear->inputs(); }  // d
};

struct HeadGrams {
  std::vector<DoubleMatrix> gram;   // F F^T [k, k] a head
  std::vector<DoubleMatrix> cross;  // D F^T [r, k] a head; empty without directions
  std::vector<float> means;         // [heads * k] that centring took off, before headGain; empty without
};

/// In double; numbers stored in 16 bits that no gain changes on the processor's matrix unit, where there is one, as exactly.
/// directions: D [r, d] (default: none). k^2 d + 2 r k d operations a head, split over the pool.
HeadGrams headGrams(const HeadMap& map, const Job& job, const Matrix* directions = nullptr);

/// One head's rows decoded, [k, d], with gains and centring.
Matrix headRows(const HeadMap& map, int64_t head);

}  // namespace headscope::core
