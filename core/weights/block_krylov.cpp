#include "core/weights/block_krylov.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int64_t kBand = 512;  // columns of the model axis that a piece takes

/// x [m, n] times the transpose of the first `rows` of `basis`: [m, rows]. Bands of columns are summed in order.
DoubleMatrix along(const DoubleMatrix& x, const DoubleMatrix& basis, int64_t rows) {
  const int64_t n = x.cols, bands = (n + kBand - 1) / kBand;
  std::vector<DoubleMatrix> parts(static_cast<size_t>(bands), DoubleMatrix(x.rows, rows));
  if (x.rows == 0 || rows == 0) return DoubleMatrix(x.rows, rows);
  parallelFor(bands, [&](int64_t b) {
    const int64_t first = b * kBand, count = std::min(kBand, n - first);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(x.rows), static_cast<int>(rows), static_cast<int>(count), 1.0,
                x.data() + first, static_cast<int>(n), basis.data() + first, static_cast<int>(n), 0.0, parts[static_cast<size_t>(b)].data(),
                static_cast<int>(rows));
  });
  for (int64_t b = 1; b < bands; ++b) {
    for (size_t i = 0; i < parts[0].values.size(); ++i) parts[0].values[i] += parts[static_cast<size_t>(b)].values[i];
  }
  return std::move(parts[0]);
}

/// to [m, n] += factor turns [m, rows] times the first rows of `basis`.
void addCombined(DoubleMatrix& to, double factor, const DoubleMatrix& turns, const DoubleMatrix& basis) {
  const int64_t n = to.cols;
  if (to.rows == 0 || turns.cols == 0) return;
  parallelFor((n + kBand - 1) / kBand, [&](int64_t b) {
    const int64_t first = b * kBand, count = std::min(kBand, n - first);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(to.rows), static_cast<int>(count), static_cast<int>(turns.cols),
                factor, turns.data(), static_cast<int>(turns.cols), basis.data() + first, static_cast<int>(n), 1.0, to.data() + first,
                static_cast<int>(n));
  });
}

void append(DoubleMatrix& to, const DoubleMatrix& rows) {
  to.values.insert(to.values.end(), rows.values.begin(), rows.values.end());
  to.rows += rows.rows;
}

}  // namespace

BlockKrylov::BlockKrylov(Operator apply, DoubleMatrix start, int64_t most)
    : apply_(std::move(apply)),
      block_(std::move(start)),
      basis_(0, block_.cols),
      images_(0, block_.cols),
      small_(std::max(most, block_.rows), std::max(most, block_.rows)) {}

bool BlockKrylov::step() {
  const int64_t rows = std::min(block_.rows, small_.rows - used_);
  if (rows == 0) return false;
  block_.rows = rows, block_.values.resize(static_cast<size_t>(rows * block_.cols));
  DoubleMatrix image = apply_(block_);
  append(basis_, block_), append(images_, image);
  const DoubleMatrix seen = along(image, basis_, used_ + rows);  // [rows, used + rows]
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < used_; ++j) small_(used_ + i, j) = small_(j, used_ + i) = seen(i, j);
    for (int64_t j = 0; j < rows; ++j) small_(used_ + i, used_ + j) = 0.5 * (seen(i, used_ + j) + seen(j, used_ + i));
  }
  used_ += rows, ++steps_;
  block_ = nextBlock(std::move(image));
  isInvariant_ = block_.rows == 0 || used_ == basis_.cols;
  return !isInvariant_ && used_ < small_.rows;
}

/// What an image adds to the basis, orthonormal; fewer rows where that is less than rounding left of it.
DoubleMatrix BlockKrylov::nextBlock(DoubleMatrix x) const {
  const double size = std::sqrt(innerProduct(x, x));
  for (int pass = 0; pass < 2; ++pass) addCombined(x, -1, along(x, basis_, used_), basis_);
  const ThinQr qr = thinQr(x);
  std::vector<int64_t> fresh;
  for (int64_t i = 0; i < qr.basis.rows; ++i) {
    if (std::abs(qr.triangle(i, i)) > 1e-6 * size) fresh.push_back(i);
  }
  DoubleMatrix block(static_cast<int64_t>(fresh.size()), x.cols);
  for (size_t i = 0; i < fresh.size(); ++i) std::copy_n(qr.basis.row(fresh[i]), x.cols, block.row(static_cast<int64_t>(i)));
  return block;
}

DoubleMatrix BlockKrylov::projected() const {
  DoubleMatrix a(used_, used_);
  for (int64_t i = 0; i < used_; ++i) std::copy_n(small_.row(i), used_, a.row(i));
  return a;
}

DoubleMatrix BlockKrylov::combine(const DoubleMatrix& turns) const {
  DoubleMatrix y(turns.rows, basis_.cols);
  addCombined(y, 1, turns, basis_);
  return y;
}

std::vector<double> BlockKrylov::residuals(const DoubleMatrix& turns, const std::vector<double>& values) const {
  DoubleMatrix scaled = turns, r(turns.rows, basis_.cols);
  for (int64_t i = 0; i < turns.rows; ++i) {
    for (int64_t j = 0; j < turns.cols; ++j) scaled(i, j) *= values[static_cast<size_t>(i)];
  }
  addCombined(r, 1, turns, images_);
  addCombined(r, -1, scaled, basis_);
  std::vector<double> norms(static_cast<size_t>(turns.rows));
  for (int64_t i = 0; i < turns.rows; ++i) norms[static_cast<size_t>(i)] = cblas_dnrm2(static_cast<int>(r.cols), r.row(i), 1);
  return norms;
}

}  // namespace headscope::core
