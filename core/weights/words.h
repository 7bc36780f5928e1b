#pragma once
// Words: which vocabulary items a head's top singular directions read and write, through the embeddings.
//
// W = sum s_i u_i v_i^T on the residual stream. W_OV: u_i is what is read from a token (scored by the embedding), v_i what is
// written towards the next token (scored by the unembedding, with the final norm's gain where norms are folded). W_QK: u_i is
// matched on the query's side, v_i on the key's, both scored by the embedding. A direction's sign is arbitrary but common to both
// sides, so each has a positive and a negative end. Costs one pass over the embeddings and one over the unembedding.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/attention/trace.h"
#include "core/weights/head_weights.h"

namespace headscope::core {

class Backend;
class Job;

enum class Circuit { QK, OV };

/// One head's W_QK or W_OV as factors in the residual stream: W = left^T right.
struct HeadFactors {
  Matrix left, right;  // [k, d]
};
HeadFactors residualFactors(const HeadWeights& weights, int64_t head, Circuit circuit);

struct WordScore {
  int32_t id = 0;
  double score = 0;
};

struct DirectionWords {
  double sigma = 0;
  int64_t group = 0;                                    // directions of one group are any basis of it
  std::vector<WordScore> readPositive, readNegative;    // u: strongest first
  std::vector<WordScore> writePositive, writeNegative;  // v
};

struct HeadWords {
  Circuit circuit = Circuit::OV;
  bool isFolded = false;
  bool isUnembedded = true;  // OV without an unembedding: written words are scored by the embedding
  std::vector<DirectionWords> directions;
};

/// Throws Error when the model has no vocabulary (images) or lacks tensors. backend: a device for the products with the vocabulary,
/// which the caller told of the model by keepWeights().
HeadWords headWords(const Model& model, HeadRef head, Circuit circuit, int64_t directions, int64_t top, const Job& job,
                    Backend* backend = nullptr);

}  // namespace headscope::core
