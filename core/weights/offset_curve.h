#pragma once
// OffsetCurve: effective rank of W_QK(Delta) = W_Q R(Delta) W_K^T against the offset Delta of a query after its key, head by head,
// for models with rotary positions; under latent attention of the joint matrix or of its rotary part.
// Costs an SVD of k x k a head and offset, beside the factors of the chosen heads, which are made once.
#include <functional>
#include <string>
#include <vector>

#include "core/weights/head_weights.h"
#include "core/weights/spectrum.h"

namespace headscope::core {

class Job;

struct OffsetPoint {
  int64_t offset = 0;
  bool isFinite = true;
  RankMeasures measures;
};

struct OffsetCurve {
  int64_t layer = 0, head = 0;
  std::vector<OffsetPoint> points;  // by offset, ascending
};

struct OffsetOptions {
  Fold fold = Fold::On;         // as defaultFold() says for the model
  std::string matrix = "W_QK";  // or "W_QK_rope" under latent attention
  std::vector<int64_t> heads;   // empty: all
  std::vector<int64_t> offsets;
};

/// At most `most` offsets in [0, last]: all where they fit, else every one near 0 and ever fewer further out, both ends in.
std::vector<int64_t> sampledOffsets(int64_t last, int64_t most);

/// One layer's curves, in the order of options.heads. `found` (when given) is called with each offset's points for all heads, in
/// ascending order of offsets and never at once, so that what is done can be shown. Throws Error: no rotary positions, an unknown
/// matrix, a head that is not there; Cancelled.
std::vector<OffsetCurve> offsetCurves(const Model& model, int64_t layer, const OffsetOptions& options, Job& job,
                                      const std::function<void(const std::vector<OffsetCurve>&)>& found = nullptr);

}  // namespace headscope::core
