#pragma once
// SquareProduct: X W W^T of a few rows X at a time, for iterations on W W^T with a large W that is kept in panels of 16 columns. A panel's
// two products follow each other while it is in the cache, so that a step reads W from memory once, where two matrix products read it
// twice and pack it each time. Float32; sums of a panel's width, and of panels, one after another. A device holds W as it is.
#include <cstdint>

#include "core/backend/tensor.h"
#include "core/tensor/matrix.h"
#include "core/weights/dense.h"

namespace headscope::core {

class Backend;
class Job;

class SquareProduct {
 public:
  static constexpr int64_t kVectors = 16;  // at once; more take their turn
  /// Copies w [out, in]. With a backend that has the product the copy is there; then w must outlive this, for a device that fails.
  SquareProduct(ConstMatrixView w, const Job& job, Backend* backend = nullptr);

  int64_t rows() const { return rows_; }  // out
  /// x [b, out] -> [b, out]; split over the pool, the same whatever its size. 4 b out in operations, b rounded up to 16.
  DoubleMatrix operator()(const DoubleMatrix& x, const Job& job) const;

 private:
  void copyPanels(const Job& job) const;
  ConstMatrixView w_;
  int64_t rows_, panels_;
  mutable Backend* backend_;  // null: here
  Tensor onDevice_;
  mutable Matrix values_;  // [panels * out, 16], where it is here
};

}  // namespace headscope::core
