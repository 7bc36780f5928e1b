#include "core/weights/intruders.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/block_krylov.h"
#include "core/weights/dense.h"
#include "core/weights/large_eigen.h"
#include "core/weights/square_product.h"

namespace headscope::core {
namespace {

constexpr int64_t kBlock = SquareProduct::kVectors, kBlockSteps = 40, kLanczosSteps = 160;
constexpr double kOutside = 1e-6;    // eigenvalues below this share of the largest are zeros
constexpr double kConverged = 1e-4;  // residual of a pair, as a share of the largest eigenvalue

DoubleMatrix rowsOf(const DoubleMatrix& a, int64_t first, int64_t count) {
  DoubleMatrix part(count, a.cols);
  std::copy_n(a.row(first), part.values.size(), part.data());
  return part;
}

/// Steps after which it pays to look: each look decomposes what has been gathered.
bool isLookedAt(int64_t step) { return step <= 4 || (step <= 12 && step % 2 == 0) || step % 4 == 0; }

BlockKrylov::Operator squareOf(const SquareProduct& w, const Job& job) {
  return [&w, &job](const DoubleMatrix& x) {
    job.checkpoint();
    return w(x, job);
  };
}

/// The first vectors of W W^T, as rows, of which `settled` have converged; the others are what came with them.
DoubleMatrix topVectors(const SquareProduct& w, int64_t count, int64_t settled, const Job& job) {
  const int64_t n = w.rows(), b = std::min(kBlock, n);
  std::mt19937_64 engine(1);
  std::normal_distribution<double> normal;
  DoubleMatrix start(b, n);
  for (double& v : start.values) v = normal(engine);
  BlockKrylov space(squareOf(w, job), thinQr(start).basis, std::min(n, b * kBlockSteps));
  for (;;) {
    const bool isLast = !space.step();
    if (!isLast && !isLookedAt(space.steps())) continue;
    DoubleMatrix turns;
    const std::vector<double> values = largeSymmetricEigen(space.projected(), turns, job);
    const std::vector<double> residuals = space.residuals(rowsOf(turns, 0, std::min(settled, space.used())), values);
    if (isLast || *std::max_element(residuals.begin(), residuals.end()) <= kConverged * std::max(values[0], 0.0))
      return space.combine(rowsOf(turns, 0, std::min(count, space.used())));
  }
}

/// Lanczos from one vector, its steps fed from outside so that several share their products.
class Lanczos {
 public:
  explicit Lanczos(std::vector<double> start) : length_(static_cast<int64_t>(start.size())) { basis_.push_back(std::move(start)); }

  const std::vector<double>& current() const { return basis_.back(); }
  bool isSettled() const { return isSettled_; }
  bool isIntruder() const { return isIntruder_; }

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

double spectralNorm(ConstMatrixView matrix, const Job& job, Backend* backend) {
  if (matrix.rows == 0 || matrix.cols == 0) return 0;
  const SquareProduct w(matrix, job, backend);
  const DoubleMatrix u = topVectors(w, 1, 1, job), image = w(u, job);
  return std::sqrt(std::max(0.0, innerProduct(u, image)));
}

namespace {

/// What is known of one vector.
struct Verdict {
  bool isSettled = false, isIntruder = false;
};

/// Of the space's first rows, from what it has gathered: a converged Ritz pair that holds enough of a row settles it; else Lanczos from
/// the row, whose steps but the last lie in the space as a whole.
void judgeRows(const BlockKrylov& space, std::vector<Verdict>& rows, const Job& job) {
  constexpr double kThreshold = kIntruderCosine * kIntruderCosine;
  DoubleMatrix turns;
  const DoubleMatrix small = space.projected();
  const std::vector<double> values = largeSymmetricEigen(small, turns, job);
  std::vector<int64_t> candidates;
  for (int64_t j = 0; j < space.used(); ++j) {
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].isSettled || turns(j, static_cast<int64_t>(i)) * turns(j, static_cast<int64_t>(i)) < kThreshold) continue;
      candidates.push_back(j);
      break;
    }
  }
  DoubleMatrix pairs(static_cast<int64_t>(candidates.size()), space.used());
  std::vector<double> theirs;
  for (size_t c = 0; c < candidates.size(); ++c) {
    std::copy_n(turns.row(candidates[c]), space.used(), pairs.row(static_cast<int64_t>(c)));
    theirs.push_back(values[static_cast<size_t>(candidates[c])]);
  }
  const std::vector<double> residuals = space.residuals(pairs, theirs);
  for (size_t c = 0; c < candidates.size(); ++c) {
    // A value of zero is what lies outside the matrix' range: it has no singular vectors there.
    if (residuals[c] > kConverged * std::abs(values[0]) || std::abs(theirs[c]) <= kOutside * std::abs(values[0])) continue;
    for (size_t i = 0; i < rows.size(); ++i) {
      const double cosine = pairs(static_cast<int64_t>(c), static_cast<int64_t>(i));
      if (cosine * cosine >= kThreshold) rows[i] = {true, false};
    }
  }
  const int64_t steps = space.isInvariant() ? kLanczosSteps : space.steps() - 1;
  parallelFor(
      static_cast<int64_t>(rows.size()),
      [&](int64_t i) {
        Verdict& row = rows[static_cast<size_t>(i)];
        if (row.isSettled || steps < 1) return;
        std::vector<double> start(static_cast<size_t>(space.used()), 0.0), image(start.size());
        start[static_cast<size_t>(i)] = 1;
        Lanczos run(std::move(start));
        const int n = static_cast<int>(space.used());
        for (int64_t step = 1; step <= steps && !run.isSettled(); ++step) {
          cblas_dgemv(CblasRowMajor, CblasNoTrans, n, n, 1.0, small.data(), n, run.current().data(), 1, 0.0, image.data(), 1);
          run.step(image.data(), step == steps);
        }
        row = {run.isSettled(), run.isIntruder()};
      },
      &job);
}

bool areSettled(const std::vector<Verdict>& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const Verdict& v) { return v.isSettled; });
}

/// Those of the first rows of `top` that a space of all of them left open, each from itself alone and further.
void judgeAlone(const SquareProduct& w, const DoubleMatrix& top, std::vector<Verdict>& rows, const Job& job) {
  std::vector<std::pair<size_t, Lanczos>> runs;
  for (size_t i = 0; i < rows.size(); ++i) {
    const double* u = top.row(static_cast<int64_t>(i));
    if (!rows[i].isSettled) runs.emplace_back(i, Lanczos(std::vector<double>(u, u + top.cols)));
  }
  for (int64_t step = 1; step <= kLanczosSteps; ++step) {
    job.checkpoint();
    std::vector<Lanczos*> open;
    for (auto& [row, run] : runs) {
      if (!run.isSettled()) open.push_back(&run);
    }
    if (open.empty()) break;
    DoubleMatrix x(static_cast<int64_t>(open.size()), top.cols);
    for (size_t i = 0; i < open.size(); ++i)
      std::copy(open[i]->current().begin(), open[i]->current().end(), x.row(static_cast<int64_t>(i)));
    const DoubleMatrix images = w(x, job);
    parallelFor(images.rows, [&](int64_t i) { open[static_cast<size_t>(i)]->step(images.row(i), step == kLanczosSteps); });
  }
  for (const auto& [row, run] : runs) rows[row] = {run.isSettled(), run.isIntruder()};
}

}  // namespace

IntruderCount krylovIntruders(ConstMatrixView before, ConstMatrixView after, const Job& job, Backend* backend) {
  const int64_t count = std::min({kIntruderVectors, after.rows, after.cols});
  // A few vectors more than are asked about: they make the space from there converge as theirs did.
  const DoubleMatrix top = topVectors(SquareProduct(after, job, backend), std::min(kBlock, after.rows), count, job);
  const SquareProduct w(before, job, backend);
  std::vector<Verdict> rows(static_cast<size_t>(count));
  BlockKrylov space(squareOf(w, job), top, std::min(top.cols, top.rows * kBlockSteps));
  for (bool canGrow = true; canGrow && !areSettled(rows);) {
    canGrow = space.step();
    if (!canGrow || isLookedAt(space.steps())) judgeRows(space, rows, job);
  }
  if (!areSettled(rows)) judgeAlone(w, top, rows, job);
  IntruderCount found;
  for (const Verdict& row : rows) found.intruders += row.isIntruder, found.undecided += !row.isSettled;
  return found;
}

}  // namespace headscope::core
