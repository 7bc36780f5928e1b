#pragma once
// BytePanels: as RowPanels, on the processor's matrix unit (matrix_unit.h). A chunk's rows are taken as whole numbers of 31 bits times a
// power of two, each row its own, and multiplied byte by byte, exactly; products are added in double. A number is off by 2^-31 of the
// largest of its row in the chunk at most: bf16 and float16 numbers above 2^-22 of it are exact. Single-threaded.
#include <cstdint>
#include <vector>

#include "core/tensor/matrix_unit.h"
#include "core/weights/dense.h"

namespace headscope::core {

class BytePanels {
 public:
  static constexpr int64_t kColumns = 256;  // of a chunk: a block of 16 rows stays in the first-level cache
  explicit BytePanels(int64_t rows);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }  // of the chunk that is packed
  /// chunk [rows, n], n <= kColumns. A row that is not finite makes its products NaN.
  void pack(ConstMatrixView chunk);
  /// The same from [n, rows].
  void packTransposed(ConstMatrixView chunk);
  /// sums[r] += the chunk's row sums.
  void addRowSums(double* sums) const;

 private:
  friend void addGram(const BytePanels& f, DoubleMatrix& gram);
  friend void addCross(const BytePanels& d, const BytePanels& f, DoubleMatrix& cross);
  static constexpr int64_t kBlock = 16, kTiles = kColumns / ByteTile::kDepth;
  int64_t blocks() const { return (rows_ + kBlock - 1) / kBlock; }
  int64_t depth() const { return (columns_ + ByteTile::kDepth - 1) / ByteTile::kDepth; }  // tiles of the chunk
  /// Rows of block `block`, [16, columns], rows beyond the last are not read.
  void packBlock(int64_t block, const float* rows, int64_t stride);
  void addTile(int64_t row, const BytePanels& right, int64_t col, const MatrixUnit& unit, DoubleMatrix& to) const;

  int64_t rows_ = 0, columns_ = 0;
  std::vector<ByteTile> left_, right_;  // [blocks, kTiles]
  std::vector<double> scale_, sums_;    // [blocks * 16] what a row's whole numbers stand for; row sums
};

/// gram [k, k] += F F^T of the chunk, tiles on and above the diagonal only: mirrorBelow() when all chunks are in.
void addGram(const BytePanels& f, DoubleMatrix& gram);
/// cross [r, k] += D F^T of chunks of the same columns.
void addCross(const BytePanels& d, const BytePanels& f, DoubleMatrix& cross);

}  // namespace headscope::core
