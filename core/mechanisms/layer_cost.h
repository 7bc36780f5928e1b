#pragma once
// Layer cost: a whole attention layer, projections included, measured against N: a softmax layer of a BERT's shape, and
// DenseAttention's layer of the same width in its two orders, which has no W_K, W_V and W_O (andrewargatkiny/dense-attention).
// Random numbers, every token sees every other, as in an encoder. No N x N.
#include <vector>

#include "core/mechanisms/complexity.h"

namespace headscope::core {

enum class LayerKind { Softmax, DenseQuadratic, DenseLinear };

struct LayerShape {
  int64_t width = 768, heads = 12;  // BERT-base; heads divides width
};

/// Operations as the formulas have them. Softmax: 8 N d^2 + H (N^2 (4 n + 4) + N n); DenseAttention, n = d / H: 2 N d^2 + 4 N^2 d or
/// 2 N d^2 + 4 N d n.
double layerOperations(LayerKind kind, const LayerShape& shape, int64_t size);

/// One forward pass of the layer on x [N, d], out [N, d]; what it costs, counted by the code that ran. Weights are [d, d], as
/// stored; DenseAttention reads the first only.
Cost runLayer(LayerKind kind, const LayerShape& shape, ConstMatrixView x, const std::vector<Matrix>& weights, MatrixView out, Job& job);

/// Points by kind, then size: "softmax_layer", "dense_attention_layer:order=quadratic", "...=linear".
std::vector<ComplexityPoint> measureLayers(const LayerShape& shape, const std::vector<int64_t>& sizes, Job& job);

}  // namespace headscope::core
