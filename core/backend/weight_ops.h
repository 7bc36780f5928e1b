#pragma once
// What the Backend's operations on weights take and give: many heads' factors at once, in host memory, results in double.
// Factors are as in core/weights/factored_matrix.h: W = L^T M R with thin L [k, m], R [k, n]. Everything is borrowed.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/tensor/matrix.h"
#include "core/weights/dense.h"
#include "core/weights/spectrum.h"

namespace headscope::core {

/// A factor F [k, m], or F T^T with a matrix T [m, m] that several factors share.
struct FactorRows {
  ConstMatrixView rows;
  const DoubleMatrix* through = nullptr;
};

/// The matrices whose singular values are asked for: left^T M right, or a factor on its own.
struct SpectraBatch {
  struct Product {
    int64_t left = 0, right = -1;          // indices of factors; right -1: the left factor itself
    const DoubleMatrix* middle = nullptr;  // M [k_l, k_r]; null: identity
  };
  std::vector<FactorRows> factors;
  std::vector<Product> products;
  SpectrumRoute route = SpectrumRoute::Gram;
};

/// By the batch's route (spectrum.h), with its error bounds; the caller escalates where those of the Gram route are too wide.
struct SpectraResult {
  std::vector<Spectrum> spectra;  // [products]
  std::vector<bool> isFinite;     // [factors] false: NaN or infinite entries
};

/// A [p, m] and B [q, m] whose A B^T [p, q] is asked for; the same view twice: a Gram matrix.
struct FactorPair {
  ConstMatrixView left, right;
};

/// What sharedSubspace (subspace.h) needs of a stack of heads S = U s V^T, p = min(rows, cols).
struct StackDirections {
  std::vector<double> sigma;                // [p], descending
  std::vector<std::vector<double>> energy;  // [heads][p]: ||S_h v_i||^2
};

/// Thin matrices over a strip of the model axis, each [count, width] with row stride `stride`.
struct ThinRows {
  const float* rows = nullptr;
  int64_t count = 0;
};
struct PairStrip {
  int64_t width = 0, stride = 0;
  std::vector<ThinRows> writers, readers;
  std::shared_ptr<const void> owner{};  // while it lives the numbers stay as they are, and a device may keep its copy; null: unknown
};
/// Which sums are wanted: writers [firstWriter, + writers) with readers [firstReader, + readers).
struct PairGroup {
  int64_t firstWriter = 0, writers = 0, firstReader = 0, readers = 0;
};
struct PairPlan {
  int64_t side = 96;  // of the square tiles that the strips are cut into
  std::vector<PairGroup> groups;
  std::function<void(double area)> progress;  // model coordinates that are done, one call at a time; may be empty
};

}  // namespace headscope::core
