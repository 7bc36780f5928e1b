#pragma once
// Small dense products on views that count what they do. Single-threaded: callers split work over rows.
#include "core/tensor/matrix.h"

namespace headscope::core {

/// Operations done so far; a multiply-add is 2.
struct Work {
  double operations = 0;
};

/// c [m, n] = alpha a [m, k] b [k, n] + beta c.
void product(ConstMatrixView a, ConstMatrixView b, MatrixView c, float alpha, float beta, Work& work);
/// c [m, n] = alpha a [m, k] b^T, b [n, k], + beta c.
void productByTransposed(ConstMatrixView a, ConstMatrixView b, MatrixView c, float alpha, float beta, Work& work);
/// c [m, n] = alpha a^T b, a [k, m], b [k, n], + beta c.
void transposedProduct(ConstMatrixView a, ConstMatrixView b, MatrixView c, float alpha, float beta, Work& work);

/// Turns each row of scores into its softmax.
void softmaxInPlace(MatrixView scores, Work& work);

}  // namespace headscope::core
