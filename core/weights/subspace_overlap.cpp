#include "core/weights/subspace_overlap.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/dense.h"

namespace headscope::core {
namespace {

constexpr double kRankTolerance = 1e-6;  // of the largest singular value: below, a direction is rounding
constexpr int64_t kGroupRows = 512;      // of the stack, in one product: a cancelled job stops after some tens of milliseconds

/// T [r, k] with orthonormal rows of T F: Lambda^(-1/2) E^T of the Gram matrix F F^T.
Matrix turnOf(ConstMatrixView factor, bool& isFinite) {
  const DoubleMatrix g = gram(factor);
  isFinite = std::all_of(g.values.begin(), g.values.end(), [](double v) { return std::isfinite(v); });
  if (!isFinite) return {};
  DoubleMatrix vectors;
  const std::vector<double> values = symmetricEigen(g, vectors);
  int64_t rank = 0;
  while (rank < static_cast<int64_t>(values.size()) && values[static_cast<size_t>(rank)] > kRankTolerance * kRankTolerance * values[0] &&
         values[static_cast<size_t>(rank)] > 0)
    ++rank;
  Matrix turn(rank, factor.rows);
  for (int64_t r = 0; r < rank; ++r) {
    for (int64_t c = 0; c < factor.rows; ++c) turn(r, c) = static_cast<float>(vectors(r, c) / std::sqrt(values[static_cast<size_t>(r)]));
  }
  return turn;
}

/// C = A B or A B^T, row-major.
Matrix product(ConstMatrixView a, ConstMatrixView b, bool isTransposed) {
  Matrix c(a.rows, isTransposed ? b.rows : b.cols);
  if (c.size() == 0) return c;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, isTransposed ? CblasTrans : CblasNoTrans, static_cast<int>(a.rows), static_cast<int>(c.cols()),
              static_cast<int>(a.cols), 1.0F, a.data, static_cast<int>(a.stride), b.data, static_cast<int>(b.stride), 0.0F, c.data(),
              static_cast<int>(c.cols()));
  return c;
}

double squaredNorm(const Matrix& m) {
  double sum = 0;
  for (int64_t i = 0; i < m.size(); ++i) sum += static_cast<double>(m.data()[i]) * m.data()[i];
  return sum;
}

}  // namespace

Matrix subspaceOverlaps(const HeadWeights& weights, SubspaceSide side, const Job& job) {
  const HeadStack stack = headStack(weights, side);
  const int64_t n = stack.heads, k = stack.perHead;
  std::vector<Matrix> turns(static_cast<size_t>(n));
  std::vector<char> finite(static_cast<size_t>(n), 1);
  parallelFor(
      n,
      [&](int64_t h) {
        bool isFinite = true;
        turns[static_cast<size_t>(h)] = turnOf(stack.rows.rowsFrom(h * k, k), isFinite);
        finite[static_cast<size_t>(h)] = isFinite ? 1 : 0;
      },
      &job);
  Matrix out(n, n);
  // Some heads at a time: small products pack both sides anew.
  const int64_t group = std::max<int64_t>(1, kGroupRows / std::max<int64_t>(1, k)), groups = (n + group - 1) / group;
  parallelFor(
      groups * groups,
      [&](int64_t t) {
        const int64_t i0 = t / groups * group, j0 = t % groups * group;
        if (j0 < i0) return;
        const int64_t i1 = std::min(n, i0 + group), j1 = std::min(n, j0 + group);
        const Matrix cross = product(stack.rows.rowsFrom(i0 * k, (i1 - i0) * k), stack.rows.rowsFrom(j0 * k, (j1 - j0) * k), true);
        for (int64_t i = i0; i < i1; ++i) {
          for (int64_t j = std::max(i, j0); j < j1; ++j) {
            const Matrix &a = turns[static_cast<size_t>(i)], &b = turns[static_cast<size_t>(j)];
            float value = std::numeric_limits<float>::quiet_NaN();
            if (finite[static_cast<size_t>(i)] && finite[static_cast<size_t>(j)]) {
              const int64_t rank = std::min(a.rows(), b.rows());
              value = 0;
              if (rank > 0) {
                const ConstMatrixView own = cross.view().rowsFrom((i - i0) * k, k).colsFrom((j - j0) * k, k);
                value = static_cast<float>(squaredNorm(product(product(a, own, false), b, true)) / static_cast<double>(rank));
                value = std::min(value, 1.0F);
              }
            }
            out(i, j) = out(j, i) = value;
          }
        }
      },
      &job);
  return out;
}

}  // namespace headscope::core
