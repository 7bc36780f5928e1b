#include "core/weights/byte_panels.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "core/tensor/turn_over.h"

namespace headscope::core {

BytePanels::BytePanels(int64_t rows)
    : rows_(rows),
      left_(static_cast<size_t>(blocks() * kTiles)),
      right_(left_.size()),
      scale_(static_cast<size_t>(blocks() * kBlock)),
      sums_(scale_.size()) {}

void BytePanels::packBlock(int64_t block, const float* rows, int64_t stride) {
  constexpr int kBits = 30;
  ByteTile* tiles = left_.data() + block * kTiles;
  alignas(64) int32_t numbers[kColumns];
  for (int64_t r = 0; r < kBlock; ++r) {
    const float* row = rows + r * stride;
    const bool isThere = block * kBlock + r < rows_;
    float largest = 0, finite = 0;
    double sum = 0;
    const int64_t count = isThere ? columns_ : 0;
#pragma omp simd reduction(max : largest) reduction(+ : finite, sum)
    for (int64_t c = 0; c < count; ++c) {
      const float size = std::abs(row[c]);
      largest = largest < size ? size : largest;
      finite += row[c] * 0.0F;
      sum += static_cast<double>(row[c]);
    }
    int exponent = 0;
    std::frexp(largest, &exponent);  // largest <= 2^exponent
    const bool isFinite = finite == 0 && std::isfinite(largest);
    const double factor = isThere && isFinite ? std::ldexp(1.0, kBits - exponent) : 0.0;
    for (int64_t c = 0; c < columns_ && factor > 0; ++c)
      numbers[c] = static_cast<int32_t>(std::nearbyint(static_cast<double>(row[c]) * factor));
    std::fill(numbers + (factor > 0 ? columns_ : 0), numbers + kColumns, 0);
    for (int64_t t = 0; t < depth(); ++t) setBytes(numbers + t * ByteTile::kDepth, r, tiles[t]);
    const size_t at = static_cast<size_t>(block * kBlock + r);
    scale_[at] = isFinite ? std::ldexp(1.0, exponent - kBits) : std::numeric_limits<double>::quiet_NaN();
    sums_[at] = sum;
  }
  ByteTile* turned = right_.data() + block * kTiles;
  std::copy_n(tiles, depth(), turned);
  turnTiles(depth(), turned);
}

void BytePanels::pack(ConstMatrixView chunk) {
  assert(chunk.rows == rows_ && chunk.cols <= kColumns);
  columns_ = chunk.cols;
  for (int64_t b = 0; b < blocks(); ++b) packBlock(b, chunk.row(b * kBlock), chunk.stride);
}

void BytePanels::packTransposed(ConstMatrixView chunk) {
  assert(chunk.cols == rows_ && chunk.rows <= kColumns);
  columns_ = chunk.rows;
  alignas(64) float rows[kBlock * kColumns];
  for (int64_t b = 0; b < blocks(); ++b) {
    const int64_t count = std::min(kBlock, rows_ - b * kBlock);
    turnOver(chunk.colsFrom(b * kBlock, count), rows, kColumns);
    packBlock(b, rows, kColumns);
  }
}

void BytePanels::addRowSums(double* sums) const {
  for (int64_t r = 0; r < rows_; ++r) sums[r] += sums_[static_cast<size_t>(r)];
}

void BytePanels::addTile(int64_t row, const BytePanels& right, int64_t col, const MatrixUnit& unit, DoubleMatrix& to) const {
  alignas(64) MatrixUnit::ByteSums sums;
  unit.multiply(left_.data() + row / kBlock * kTiles, right.right_.data() + col / kBlock * kTiles, depth(), sums);
  const int64_t rows = std::min(kBlock, to.rows - row), cols = std::min(kBlock, to.cols - col);
  const double* across = right.scale_.data() + col;
  for (int64_t r = 0; r < rows; ++r) {
    const size_t at = static_cast<size_t>(r);
    double whole[kBlock] = {};
    for (size_t s = sums.size(); s-- > 0;) {
      for (size_t c = 0; c < kBlock; ++c) whole[c] = whole[c] * 256 + sums[s][at][c];
    }
    double* out = to.row(row + r) + col;
    const double scale = scale_[static_cast<size_t>(row) + at];
    for (int64_t c = 0; c < cols; ++c) out[c] += whole[c] * scale * across[c];
  }
}

void addGram(const BytePanels& f, DoubleMatrix& gram) {
  const MatrixUnit unit;
  for (int64_t row = 0; row < f.rows(); row += BytePanels::kBlock) {
    for (int64_t col = row; col < f.rows(); col += BytePanels::kBlock) f.addTile(row, f, col, unit, gram);
  }
}

void addCross(const BytePanels& d, const BytePanels& f, DoubleMatrix& cross) {
  assert(d.columns() == f.columns());
  const MatrixUnit unit;
  for (int64_t row = 0; row < d.rows(); row += BytePanels::kBlock) {
    for (int64_t col = 0; col < f.rows(); col += BytePanels::kBlock) d.addTile(row, f, col, unit, cross);
  }
}

}  // namespace headscope::core
