#pragma once
// Composition: how strongly each head's output feeds each later head's queries, keys and values (Elhage 2021):
// C(h1 -> h2) = ||W_OV,h1 X||_F / (||W_OV,h1||_F ||X||_F), X = W_QK,h2 (Q), W_QK,h2^T (K), W_OV,h2 (V), layer(h1) < layer(h2).
//
// Route: with thin matrices F_1 = R_V O and F_2 = R_K Q (composition_heads.h), ||W_OV,1 X||^2 = <F_1^T F_1, F_2^T F_2>, inner
// products of d x d Gram matrices: d^2 operations a pair in place of k^2 d. No Gram matrix is ever whole: the model axis is
// cut into square tiles, each head's tile is formed, all pairs of the tile are one product, and tiles are summed in double.
// Memory: two strips of the thin matrices and one tile of every head a thread, under the given limit. C is right to about 1e-6
// of sqrt(C); a value of exactly zero between heads of rank 1 shows up to 2e-5.
//
// Where all readers and pairs at once would take more than the limit (whole models under latent attention: 61 layers of 128 heads are
// 183 million pairs and 15 GB of small matrices), later layers are taken some at a time, each part with the heads of all layers before
// it; the strips shrink too, so that more of the time goes into forming them.
//
// Kernel metric (arXiv 2601.10266): ||U_1^T U_2||_F^2 / k of orthonormal bases of what h1 writes (rows of W_O) and what h2's
// query, key or value reads, k the smaller rank.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/weights/composition_heads.h"

namespace headscope::core {

class Backend;

struct CompositionOptions {
  Fold fold = Fold::On;
  CompositionMetric metric = CompositionMetric::Frobenius;
  bool withNull = false;        // also with the writers' output coordinates permuted
  int64_t draws = 4;            // permutations, whose values are averaged; each costs about as much as the values themselves
  uint64_t seed = 1;            // of the first permutation
  std::vector<int64_t> layers;  // compose these only, ascending; empty: all
  uint64_t memoryBytes = uint64_t{1600} << 20;
  std::shared_ptr<Backend> backend;  // takes over what it supports; null: all here
};

struct Composition {
  int64_t layers = 0, heads = 0, width = 0;
  std::vector<int64_t> layerNumbers;  // [layers] of the model; indices below count these
  CompositionMetric metric = CompositionMetric::Frobenius;
  std::array<std::vector<float>, 3> values;         // by CompositionKind, [L, H, L, H]: earlier layer, head, later layer, head; else 0
  std::array<std::vector<float>, 3> null;           // the same under permutations, their mean; empty without
  std::array<std::vector<float>, 3> nullDeviation;  // standard deviation over the draws (of a single draw: 0); empty without
  std::vector<std::string> notes;                   // heads with NaN or zero weights; one layer: nothing to compose

  size_t index(int64_t fromLayer, int64_t fromHead, int64_t toLayer, int64_t toHead) const {
    return static_cast<size_t>(((fromLayer * heads + fromHead) * layers + toLayer) * heads + toHead);
  }
  float at(CompositionKind kind, int64_t fromLayer, int64_t fromHead, int64_t toLayer, int64_t toHead) const {
    return values[static_cast<size_t>(kind)][index(fromLayer, fromHead, toLayer, toHead)];
  }
  /// What unrelated heads give: the permuted value where there is one, else the expectation for random heads.
  double baseline(CompositionKind kind, int64_t fromLayer, int64_t fromHead, int64_t toLayer, int64_t toHead) const;
  /// The expectation: about 1/sqrt(d); for the kernel k/d with k the heads' width.
  double expectation = 0;
};

/// All causal layer pairs. Pairs of a head with NaN weights are NaN, of a zero head 0. Throws Error as headWeights, on layers that are
/// not there, and where the values would take more memory than is allowed (with the numbers: see eachCompositionPart); Cancelled within
/// a few tens of milliseconds.
Composition composition(const Model& model, const CompositionOptions& options, Job& job);

/// The pairs of some later layers with the heads of all layers before them.
struct CompositionPart {
  int64_t heads = 0;
  int64_t firstReader = 0, readerLayers = 0;              // later layers [firstReader, firstReader + readerLayers)
  std::array<std::vector<float>, 3> values;               // by kind, [writerLayers(), H, readerLayers, H]; 0 where not earlier
  std::array<std::vector<float>, 3> null, nullDeviation;  // as in Composition; empty without

  int64_t writerLayers() const { return firstReader + readerLayers - 1; }
  /// Of the `readerLayers * heads` values that one writing head has, in order.
  size_t row(int64_t fromLayer, int64_t fromHead) const {
    return static_cast<size_t>((fromLayer * heads + fromHead) * readerLayers * heads);
  }
};

/// The same part by part, for results that memory doesn't hold: `take` gets each part once, ascending by later layer. Returns what
/// composition() returns less the values. Throws as it does, but for size only where one layer's readers are too many already.
Composition eachCompositionPart(const Model& model, const CompositionOptions& options, Job& job,
                                const std::function<void(const CompositionPart&)>& take);

/// True where composition() holds everything under the limit.
bool fitsComposition(const ModelSpec& spec, const CompositionOptions& options);

/// Bytes of all pairs at once, whatever strips they are cut into: pair sums, results, and the heads' small matrices.
double compositionBytes(const ModelSpec& spec, const CompositionOptions& options);

}  // namespace headscope::core
