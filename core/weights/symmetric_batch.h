#pragma once
// SymmetricBatch: eigenvalues of several symmetric matrices, whose tridiagonal forms are kept until all are in and then solved side by side
// (tridiagonal_values.h); the matrices themselves are not kept. Single-threaded. Costs 4/3 n^3 operations each.
#include <vector>

#include "core/weights/dense.h"
#include "core/weights/tridiagonal.h"

namespace headscope::core {

class SymmetricBatch {
 public:
  /// Reads the lower triangle.
  void add(const DoubleMatrix& a);
  /// Descending, of every matrix in the order of adding. Once.
  std::vector<std::vector<double>> values();

 private:
  std::vector<std::vector<double>> values_;
  std::vector<Tridiagonal> reduced_;
  std::vector<size_t> whose_;
};

}  // namespace headscope::core
