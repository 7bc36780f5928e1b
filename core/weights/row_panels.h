#pragma once
// RowPanels: a chunk of a factor's columns in double, in blocks of 16 rows that a register tile multiplies, for Gram matrices F F^T
// and products D F^T accumulated in double from float32 numbers. Where a BLAS packs both operands anew for every small product, a
// chunk is packed once here and used by every product that it is part of. Single-threaded.
#include <cstdint>
#include <memory>

#include "core/weights/dense.h"

namespace headscope::core {

class RowPanels {
 public:
  static constexpr int64_t kColumns = 256;  // of a chunk: a block of 16 rows stays in the first-level cache
  explicit RowPanels(int64_t rows);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }  // of the chunk that is packed
  /// chunk [rows, n], n <= kColumns; gain [n]: column c times gain[c] (default: none).
  void pack(ConstMatrixView chunk, const float* gain = nullptr);
  /// The same from [n, rows].
  void packTransposed(ConstMatrixView chunk, const float* gain = nullptr);
  /// sums[r] += the chunk's row sums.
  void addRowSums(double* sums) const;

 private:
  friend void addGram(const RowPanels& f, DoubleMatrix& gram);
  friend void addCross(const RowPanels& d, const RowPanels& f, DoubleMatrix& cross);
  const double* block(int64_t index) const { return values_.get() + index * kColumns * kBlock; }
  double* block(int64_t index) { return values_.get() + index * kColumns * kBlock; }
  int64_t blocks() const { return (rows_ + kBlock - 1) / kBlock; }

  static constexpr int64_t kBlock = 16;
  struct Free {
    void operator()(double* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  int64_t rows_ = 0, columns_ = 0;
  std::unique_ptr<double[], Free> values_;  // [blocks, kColumns, 16], rows beyond the last are zero
};

/// gram [k, k] += F F^T of the chunk, tiles on and above the diagonal only: mirrorBelow() when all chunks are in.
void addGram(const RowPanels& f, DoubleMatrix& gram);
/// cross [r, k] += D F^T of chunks of the same columns.
void addCross(const RowPanels& d, const RowPanels& f, DoubleMatrix& cross);

}  // namespace headscope::core
