#include "core/weights/row_panels.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

#include "core/tensor/turn_over.h"

namespace headscope::core {
namespace {

constexpr int64_t kSide = 16, kDepth = 8;  // a register tile: 16 rows of one factor by 8 of the other
typedef double Lane __attribute__((vector_size(64)));

typedef float Eight __attribute__((vector_size(32)));

/// 8 x 8 numbers turned: column c of `from` times gain[c] (null: as it is) becomes to[c * kSide .. + 8].
void packEight(const float* from, int64_t stride, const float* gain, double* to) {
  Eight a[8];
  for (int r = 0; r < 8; ++r) std::memcpy(&a[r], from + r * stride, sizeof a[r]);
  turnEight(a);
  for (int c = 0; c < 8; ++c) {
    Lane column = __builtin_convertvector(a[c], Lane);
    if (gain != nullptr) column *= static_cast<double>(gain[c]);
    std::memcpy(to + c * kSide, &column, sizeof column);
  }
}

/// to[c * 16 + r] = from[r * stride + c] times gain[c].
void packBlock(const float* from, int64_t stride, int64_t columns, const float* gain, double* to) {
  int64_t c = 0;
  for (; c + 8 <= columns; c += 8) {
    const float* gains = gain != nullptr ? gain + c : nullptr;
    packEight(from + c, stride, gains, to + c * kSide);
    packEight(from + 8 * stride + c, stride, gains, to + c * kSide + 8);
  }
  for (; c < columns; ++c) {
    const double factor = gain != nullptr ? static_cast<double>(gain[c]) : 1.0;
    for (int64_t r = 0; r < kSide; ++r) to[c * kSide + r] = factor * static_cast<double>(from[r * stride + c]);
  }
}

/// c [8, 16], rows `stride` apart, += sum_p b[p][first .. first + 8] a[p][0 .. 16].
void tile(const double* a, const double* b, int64_t count, double* c, int64_t stride) {
  Lane sums[kDepth][2];
  for (int64_t j = 0; j < kDepth; ++j)
    std::memcpy(&sums[j][0], c + j * stride, sizeof(Lane)), std::memcpy(&sums[j][1], c + j * stride + 8, sizeof(Lane));
  for (int64_t p = 0; p < count; ++p, a += kSide, b += kSide) {
    Lane low, high;
    std::memcpy(&low, a, sizeof low), std::memcpy(&high, a + 8, sizeof high);
    for (int64_t j = 0; j < kDepth; ++j) {
      sums[j][0] += low * b[j];
      sums[j][1] += high * b[j];
    }
  }
  for (int64_t j = 0; j < kDepth; ++j)
    std::memcpy(c + j * stride, &sums[j][0], sizeof(Lane)), std::memcpy(c + j * stride + 8, &sums[j][1], sizeof(Lane));
}

/// The right half of it, c [8, 8].
void halfTile(const double* a, const double* b, int64_t count, double* c, int64_t stride) {
  Lane sums[kDepth];
  for (int64_t j = 0; j < kDepth; ++j) std::memcpy(&sums[j], c + j * stride, sizeof(Lane));
  for (int64_t p = 0; p < count; ++p, a += kSide, b += kSide) {
    Lane high;
    std::memcpy(&high, a + 8, sizeof high);
    for (int64_t j = 0; j < kDepth; ++j) sums[j] += high * b[j];
  }
  for (int64_t j = 0; j < kDepth; ++j) std::memcpy(c + j * stride, &sums[j], sizeof(Lane));
}

/// tile() into a matrix that may end within it.
void addTile(const double* a, const double* b, int64_t count, int64_t row, int64_t col, DoubleMatrix& to) {
  const int64_t rows = std::min(kDepth, to.rows - row), cols = std::min(kSide, to.cols - col);
  if (rows == kDepth && cols == kSide) {
    tile(a, b, count, to.row(row) + col, to.cols);
    return;
  }
  alignas(64) double part[kDepth * kSide] = {};
  tile(a, b, count, part, kSide);
  for (int64_t r = 0; r < rows; ++r) {
    double* at = to.row(row + r) + col;
    for (int64_t c = 0; c < cols; ++c) at[c] += part[r * kSide + c];
  }
}

}  // namespace

RowPanels::RowPanels(int64_t rows) : rows_(rows) {
  const size_t size = static_cast<size_t>(blocks() * kColumns * kBlock) * sizeof(double);
  values_.reset(static_cast<double*>(::operator new (std::max<size_t>(size, 64), std::align_val_t{64})));
  if (rows_ % kBlock != 0) std::memset(block(blocks() - 1), 0, static_cast<size_t>(kColumns * kBlock) * sizeof(double));
}

void RowPanels::pack(ConstMatrixView chunk, const float* gain) {
  assert(chunk.rows == rows_ && chunk.cols <= kColumns);
  columns_ = chunk.cols;
  for (int64_t i = 0; i < blocks(); ++i) {
    const int64_t count = std::min(kBlock, rows_ - i * kBlock);
    double* to = block(i);
    if (count == kBlock) {
      packBlock(chunk.row(i * kBlock), chunk.stride, columns_, gain, to);
      continue;
    }
    for (int64_t r = 0; r < count; ++r) {
      const float* from = chunk.row(i * kBlock + r);
      for (int64_t c = 0; c < columns_; ++c)
        to[c * kBlock + r] = static_cast<double>(from[c]) * (gain != nullptr ? static_cast<double>(gain[c]) : 1.0);
    }
  }
}

void RowPanels::packTransposed(ConstMatrixView chunk, const float* gain) {
  assert(chunk.cols == rows_ && chunk.rows <= kColumns);
  columns_ = chunk.rows;
  for (int64_t i = 0; i < blocks(); ++i) {
    const int64_t count = std::min(kBlock, rows_ - i * kBlock);
    double* to = block(i);
    for (int64_t c = 0; c < columns_; ++c) {
      const float* from = chunk.row(c) + i * kBlock;
      const double factor = gain != nullptr ? static_cast<double>(gain[c]) : 1.0;
      for (int64_t r = 0; r < count; ++r) to[c * kBlock + r] = factor * static_cast<double>(from[r]);
    }
  }
}

void RowPanels::addRowSums(double* sums) const {
  for (int64_t i = 0; i < blocks(); ++i) {
    const double* at = block(i);
    double part[kBlock] = {};
    for (int64_t c = 0; c < columns_; ++c) {
      for (int64_t r = 0; r < kBlock; ++r) part[r] += at[c * kBlock + r];
    }
    for (int64_t r = 0; r < std::min(kBlock, rows_ - i * kBlock); ++r) sums[i * kBlock + r] += part[r];
  }
}

void addGram(const RowPanels& f, DoubleMatrix& gram) {
  for (int64_t row = 0; row < f.rows(); row += kDepth) {
    for (int64_t col = row / kSide * kSide; col < f.rows(); col += kSide) {
      const double *a = f.block(col / kSide), *b = f.block(row / kSide) + row % kSide;
      if (col < row && row + kDepth <= f.rows()) {  // what is left of the row's own block lies below the diagonal
        halfTile(a, b, f.columns(), gram.row(row) + row, gram.cols);
      } else {
        addTile(a, b, f.columns(), row, col, gram);
      }
    }
  }
}

void addCross(const RowPanels& d, const RowPanels& f, DoubleMatrix& cross) {
  assert(d.columns() == f.columns());
  for (int64_t row = 0; row < d.rows(); row += kDepth) {
    for (int64_t col = 0; col < f.rows(); col += kSide) {
      addTile(f.block(col / kSide), d.block(row / kSide) + row % kSide, f.columns(), row, col, cross);
    }
  }
}

}  // namespace headscope::core
