#pragma once
// PromptWords: how far each token of a traced prompt lies along a head's top singular directions: which tokens of this text the head
// reads (W_OV: u_i; W_QK: u_i on the query's side, v_i on the key's). Directions and signs are those of headWords().
//
// A token is the layer's normed input as the weights read it: x over its root mean square (less its mean where the norm centres),
// the norm's gain being folded into the weights; the stream itself where nothing is folded. Costs one decoding of the layer.
#include <vector>

#include "core/weights/words.h"

namespace headscope::core {

struct DirectionTokens {
  std::vector<float> read;     // [N] x_i . u
  std::vector<float> matched;  // [N] x_i . v; W_QK only, else empty
};

/// Of the first `directions` directions. Throws Error as headWeights, or where the trace did not run the layer.
std::vector<DirectionTokens> promptProjections(const Trace& trace, HeadRef head, Circuit circuit, int64_t directions, const Job& job);

}  // namespace headscope::core
