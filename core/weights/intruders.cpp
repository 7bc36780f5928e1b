#include "core/weights/intruders.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/dense.h"

namespace headscope::core {
namespace {

constexpr int64_t kBlock = 16, kBlockSteps = 40, kLanczosSteps = 160, kBand = 256;
constexpr double kOutside = 1e-6;    // eigenvalues below this share of the largest are zeros
constexpr double kConverged = 1e-4;  // residual of a pair, as a share of the largest eigenvalue

/// X W W^T of rows x [b, out]; float32 products, split over the pool.
DoubleMatrix squareProduct(ConstMatrixView w, const DoubleMatrix& x, const Job& job) {
  const Matrix narrow = x.toFloat();
  const int b = static_cast<int>(x.rows);
  Matrix inner(x.rows, w.cols), out(x.rows, w.rows);
  parallelFor((w.cols + kBand - 1) / kBand,
              [&](int64_t i) {
                const int64_t first = i * kBand, count = std::min(kBand, w.cols - first);
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, b, static_cast<int>(count), static_cast<int>(w.rows), 1.0F,
                            narrow.data(), static_cast<int>(narrow.cols()), w.data + first, static_cast<int>(w.stride), 0.0F,
                            inner.data() + first, static_cast<int>(inner.cols()));
              },
              &job);
  parallelFor((w.rows + kBand - 1) / kBand,
              [&](int64_t i) {
                const int64_t first = i * kBand, count = std::min(kBand, w.rows - first);
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, b, static_cast<int>(count), static_cast<int>(w.cols), 1.0F,
                            inner.data(), static_cast<int>(inner.cols()), w.row(first), static_cast<int>(w.stride), 0.0F,
                            out.data() + first, static_cast<int>(out.cols()));
              },
              &job);
  return DoubleMatrix::from(out);
}

DoubleMatrix rowsOf(const DoubleMatrix& a, int64_t first, int64_t count) {
  DoubleMatrix part(count, a.cols);
  std::copy_n(a.row(first), part.values.size(), part.data());
  return part;
}

void subtract(DoubleMatrix& a, const DoubleMatrix& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] -= b.values[i];
}

/// What x adds to the basis' first `used` rows, orthonormal; fewer rows where that is less than rounding left of it.
DoubleMatrix nextBlock(const DoubleMatrix& basis, int64_t used, DoubleMatrix x) {
  const DoubleMatrix old = rowsOf(basis, 0, used);
  const double size = std::sqrt(innerProduct(x, x));
  for (int pass = 0; pass < 2; ++pass) subtract(x, multiply(multiplyTransposed(x, old), old));
  const ThinQr qr = thinQr(x);
  std::vector<int64_t> fresh;
  for (int64_t i = 0; i < qr.basis.rows; ++i) {
    if (std::abs(qr.triangle(i, i)) > 1e-6 * size) fresh.push_back(i);
  }
  DoubleMatrix block(static_cast<int64_t>(fresh.size()), x.cols);
  for (size_t i = 0; i < fresh.size(); ++i) std::copy_n(qr.basis.row(fresh[i]), x.cols, block.row(static_cast<int64_t>(i)));
  return block;
}

/// The first vectors of W W^T, as rows.
DoubleMatrix topVectors(ConstMatrixView w, int64_t count, const Job& job) {
  const int64_t n = w.rows, b = std::min(kBlock, n), most = std::min(n, b * kBlockSteps);
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  DoubleMatrix start(b, n), basis(most, n), images(most, n);
  for (double& v : start.values) v = normal(engine);
  DoubleMatrix block = thinQr(start).basis;
  int64_t used = 0;
  for (int64_t step = 1;; ++step) {
    job.checkpoint();
    const int64_t rows = std::min(block.rows, most - used);
    std::copy_n(block.data(), static_cast<size_t>(rows * n), basis.row(used));
    const DoubleMatrix image = squareProduct(w, rowsOf(basis, used, rows), job);
    std::copy_n(image.data(), image.values.size(), images.row(used));
    used += rows;
    block = used < most ? nextBlock(basis, used, image) : DoubleMatrix();
    const bool isLast = block.rows == 0;
    if (isLast || step % 4 == 0) {
      const DoubleMatrix v = rowsOf(basis, 0, used), av = rowsOf(images, 0, used);
      DoubleMatrix small = multiplyTransposed(v, av), turns;
      for (int64_t i = 0; i < used; ++i) {
        for (int64_t j = 0; j < i; ++j) small(i, j) = small(j, i) = 0.5 * (small(i, j) + small(j, i));
      }
      const std::vector<double> values = symmetricEigen(std::move(small), turns);
      const DoubleMatrix best = rowsOf(turns, 0, std::min(count, used)), u = multiply(best, v);
      DoubleMatrix residual = multiply(best, av);
      double worst = 0;
      for (int64_t i = 0; i < u.rows; ++i) {
        double sum = 0;
        for (int64_t c = 0; c < n; ++c) {
          const double r = residual(i, c) - values[static_cast<size_t>(i)] * u(i, c);
          sum += r * r;
        }
        worst = std::max(worst, std::sqrt(sum));
      }
      if (isLast || worst <= kConverged * std::max(values[0], 0.0)) return u;
    }
  }
}

/// Lanczos from one vector, its steps fed from outside so that several share their products.
class Lanczos {
 public:
  explicit Lanczos(std::vector<double> start) : length_(static_cast<int64_t>(start.size())) { basis_.push_back(std::move(start)); }

  const std::vector<double>& current() const { return basis_.back(); }
  bool isSettled() const { return isSettled_; }
  bool isIntruder() const { return isIntruder_; }
  bool isUndecided() const { return !isSettled_; }

  /// image: the matrix times current().
  void step(const double* image, bool isLast) {
    std::vector<double> next(image, image + length_);
    diagonal_.push_back(cblas_ddot(static_cast<int>(length_), image, 1, current().data(), 1));
    for (int pass = 0; pass < 2; ++pass) {
      for (const std::vector<double>& v : basis_) {
        const double along = cblas_ddot(static_cast<int>(length_), next.data(), 1, v.data(), 1);
        cblas_daxpy(static_cast<int>(length_), -along, v.data(), 1, next.data(), 1);
      }
    }
    const double norm = cblas_dnrm2(static_cast<int>(length_), next.data(), 1);
    const bool isExhausted = norm <= 1e-7 * std::max(std::abs(diagonal_.front()), 1e-300) || static_cast<int64_t>(basis_.size()) >= length_;
    if (isExhausted || isLast || diagonal_.size() % 8 == 0) judge(norm, isExhausted, isLast);
    off_.push_back(norm);
    if (isExhausted) return;
    for (double& v : next) v /= norm;
    basis_.push_back(std::move(next));
  }

 private:
  void judge(double beta, bool isExhausted, bool isLast) {
    const int64_t m = static_cast<int64_t>(diagonal_.size());
    DoubleMatrix t(m, m), vectors;
    for (int64_t i = 0; i < m; ++i) {
      t(i, i) = diagonal_[static_cast<size_t>(i)];
      if (i + 1 < m) t(i, i + 1) = t(i + 1, i) = off_[static_cast<size_t>(i)];
    }
    const std::vector<double> values = symmetricEigen(std::move(t), vectors);
    const double threshold = kIntruderCosine * kIntruderCosine;
    // A converged value of zero is what lies outside the matrix' range: it has no singular vectors there.
    std::vector<double> weights(static_cast<size_t>(m));
    for (int64_t j = 0; j < m; ++j) {
      const double value = values[static_cast<size_t>(j)], weight = vectors(j, 0) * vectors(j, 0);
      const bool isConverged = isExhausted || beta * std::abs(vectors(j, m - 1)) <= kConverged * std::abs(values[0]);
      const bool isOutside = isConverged && std::abs(value) <= kOutside * std::abs(values[0]);
      if (isConverged && !isOutside && weight >= threshold) {
        isSettled_ = true, isIntruder_ = false;
        return;
      }
      weights[static_cast<size_t>(j)] = isOutside ? 0 : weight;
    }
    double single = 0, pair = 0;
    for (size_t j = 0; j < weights.size(); ++j) {
      single = std::max(single, weights[j]), pair = std::max(pair, weights[j] + (j + 1 < weights.size() ? weights[j + 1] : 0.0));
    }
    isSettled_ = isExhausted || pair < threshold;
    isIntruder_ = (isSettled_ || isLast) && single < threshold;
  }

  int64_t length_ = 0;
  std::vector<std::vector<double>> basis_;
  std::vector<double> diagonal_, off_;
  bool isSettled_ = false, isIntruder_ = false;
};

}  // namespace

IntruderCount denseIntruders(ConstMatrixView before, ConstMatrixView after) {
  const SmallSvd w0 = smallSvd(DoubleMatrix::from(before)), w1 = smallSvd(DoubleMatrix::from(after));
  const DoubleMatrix cosines = multiplyTransposed(w1.left, w0.left);
  IntruderCount count;
  for (int64_t i = 0; i < std::min(cosines.rows, kIntruderVectors); ++i) {
    double best = 0;
    for (int64_t j = 0; j < cosines.cols; ++j) best = std::max(best, std::abs(cosines(i, j)));
    count.intruders += best < kIntruderCosine;
  }
  return count;
}

double spectralNorm(ConstMatrixView w, const Job& job) {
  if (w.rows == 0 || w.cols == 0) return 0;
  const DoubleMatrix u = topVectors(w, 1, job), image = squareProduct(w, u, job);
  return std::sqrt(std::max(0.0, innerProduct(u, image)));
}

IntruderCount krylovIntruders(ConstMatrixView before, ConstMatrixView after, const Job& job) {
  const DoubleMatrix top = topVectors(after, std::min({kIntruderVectors, after.rows, after.cols}), job);
  std::vector<Lanczos> runs;
  for (int64_t i = 0; i < top.rows; ++i) runs.emplace_back(std::vector<double>(top.row(i), top.row(i) + top.cols));
  for (int64_t step = 1; step <= kLanczosSteps; ++step) {
    job.checkpoint();
    std::vector<Lanczos*> open;
    for (Lanczos& run : runs) {
      if (!run.isSettled()) open.push_back(&run);
    }
    if (open.empty()) break;
    DoubleMatrix x(static_cast<int64_t>(open.size()), top.cols);
    for (size_t i = 0; i < open.size(); ++i)
      std::copy(open[i]->current().begin(), open[i]->current().end(), x.row(static_cast<int64_t>(i)));
    const DoubleMatrix images = squareProduct(before, x, job);
    parallelFor(images.rows, [&](int64_t i) { open[static_cast<size_t>(i)]->step(images.row(i), step == kLanczosSteps); });
  }
  IntruderCount count;
  for (const Lanczos& run : runs) count.intruders += run.isIntruder(), count.undecided += run.isUndecided();
  return count;
}

}  // namespace headscope::core
