#pragma once
// HeadWeights: one layer's W_Q, W_K, W_V, W_O head by head, with norm folding, inner norm gains, biases, the query-to-key/value
// head map and MLA's layout resolved, adapter applied where asked. Everything in weight space (spectra, composition, LoRA,
// subspaces, words) starts here and knows no family. Decodes one layer's attention tensors to float32, nothing else.
//
// Row-vector convention: x W_Q etc. Matrices are kept transposed where that is how they are stored: comments give shapes.
// Source: formulas of Elhage 2021 (QK and OV circuits), TransformerLens fold_ln and center_writing_weights for folding,
// DeepSeek-V2 report for MLA.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/model/model.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class Job;

enum class Fold { Off, On };

/// MLA's two readings of kv_b_proj: per head (right) and the published first-half/second-half mistake, for comparison.
enum class MlaSplit { Heads, Halves };

/// Means over the model axis that centring takes off, one a row; empty where nothing is centred.
struct RowMeans {
  std::vector<float> query, key, value, output;  // [H*k], [G*k], [G*v], [H*v]
};

/// Part of the model axis: coordinates [first, first + count) of the residual stream; count -1: all.
/// A part needs the whole's row means where the norm centres.
struct ModelAxis {
  int64_t first = 0, count = -1;
  const RowMeans* means = nullptr;
  const std::vector<int64_t>* outputOrder = nullptr;  // [d]: column c of `output` is coordinate outputOrder[first + c]; null: c itself
  bool withUp = true;                                 // false: MLA's up-projections, which don't touch the model axis, are left out
  bool withOutput = true;                             // false: W_O is left out
};

struct HeadWeights {
  int64_t layer = 0, heads = 0, kvHeads = 0;
  int64_t keyWidth = 0, valueWidth = 0;  // k and v; under MLA k = nope + rope
  bool isFolded = false;
  std::string foldRefusal;  // why folding is wrong for this model; "" when it is allowed

  // Standard attention. Rows of head h are [h*k, (h+1)*k).
  Matrix query;   // W_Q^T [H*k, d]
  Matrix key;     // W_K^T [G*k, d]
  Matrix value;   // W_V^T [G*v, d]
  Matrix output;  // W_O   [H*v, d], rows are what a head writes

  // MLA: query, key, value empty, output as above
  struct Latent {
    Matrix queryDown;   // W_DQ^T [q_rank, d]; empty when queries read the residual stream
    Matrix queryUp;     // W_UQ^T [H*(nope+rope), q_rank or d], per head nope rows then rope rows
    Matrix latentDown;  // W_DKV^T [latent, d]
    Matrix ropeKey;     // W_KR^T [rope, d]
    Matrix keyUp;       // W_UK^T [H*nope, latent]
    Matrix valueUp;     // W_UV^T [H*v, latent]
  };
  std::optional<Latent> latent;
  int64_t nope = 0, rope = 0;  // MLA: k = nope + rope

  RowMeans means;                                    // taken off when folded into a norm that centres
  std::vector<float> queryBias, keyBias, valueBias;  // [H*k], [G*k], [G*v] or empty, unfolded

  int64_t kvHeadOf(int64_t h) const { return h * kvHeads / heads; }

  // One head's rows. Standard attention only, but for outputOf.
  ConstMatrixView queryOf(int64_t h) const { return query.view().rowsFrom(h * keyWidth, keyWidth); }        // [k, d]
  ConstMatrixView keyOf(int64_t g) const { return key.view().rowsFrom(g * keyWidth, keyWidth); }            // [k, d]
  ConstMatrixView valueOf(int64_t g) const { return value.view().rowsFrom(g * valueWidth, valueWidth); }    // [v, d]
  ConstMatrixView outputOf(int64_t h) const { return output.view().rowsFrom(h * valueWidth, valueWidth); }  // [v, d]
};

/// Throws Error when attention tensors of the layer are missing (named), or Fold::On is asked where it is refused.
/// Costs one decoding of the layer's attention tensors (of the axis part that is asked for), split over the pool.
HeadWeights headWeights(const Model& model, int64_t layer, Fold fold, MlaSplit split = MlaSplit::Heads, const ModelAxis& axis = {},
                        const Job* job = nullptr);

/// The same without any decoding: shapes, head map and biases; matrices are empty. Throws as headWeights.
HeadWeights headShapes(const Model& model, int64_t layer, Fold fold);

/// A linear map's weights decoded to [outputs, count] from input `first` on, adapter merged (terms, DoRA's row scale), rows split over the
/// pool.
Matrix decodeLinear(const Linear& linear, int64_t first = 0, int64_t count = -1, const Job* job = nullptr);

/// Outputs [firstRow, firstRow + rows) and inputs [firstIn, firstIn + target.cols) of the same, adapter merged, on this thread.
void decodeTile(const Linear& linear, int64_t firstRow, int64_t rows, int64_t firstIn, MatrixView target);

/// Takes one layer's attention tensors out of this process's memory (releasePages), after a pass over them.
void releaseAttention(const AttentionWeights& attention);

/// Fold::On where it is allowed, else Fold::Off.
Fold defaultFold(const ModelSpec& spec);

/// Why norms can't be folded into this model's attention weights; "" when they can.
std::string foldRefusal(const ModelSpec& spec);

}  // namespace headscope::core
