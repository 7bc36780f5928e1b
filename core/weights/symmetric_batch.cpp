#include "core/weights/symmetric_batch.h"

#include <algorithm>
#include <utility>

#include "core/weights/lapack.h"
#include "core/weights/small_norms.h"
#include "core/weights/tridiagonal_values.h"

namespace headscope::core {
namespace {

constexpr int64_t kSmall = 320;  // above, LAPACK's blocks are as quick

std::vector<double> lapackEigenvalues(DoubleMatrix a) {
  const int n = lapack::asInt(a.rows);
  std::vector<double> w(static_cast<size_t>(n));
  if (n == 0) return w;
  int iwork = 0, info = 0;
  const int lwork = 2 * n + 1 + n * 64, liwork = 1;
  std::vector<double> work(static_cast<size_t>(lwork));
  dsyevd_("N", "U", &n, a.data(), &n, w.data(), work.data(), &lwork, &iwork, &liwork, &info);
  lapack::require(info, "dsyevd");
  std::reverse(w.begin(), w.end());
  return w;
}

}  // namespace

void SymmetricBatch::add(const DoubleMatrix& a) {
  const double largest = largestEntry(a);
  if (a.rows <= kSmall && largest > 1e-100 && largest < 1e100) {  // squares neither vanish nor overflow
    reduced_.push_back(reduceToTridiagonal(a)), whose_.push_back(values_.size());
    values_.emplace_back();
  } else {
    values_.push_back(lapackEigenvalues(a));
  }
}

std::vector<std::vector<double>> SymmetricBatch::values() {
  tridiagonalValues(reduced_);
  for (size_t k = 0; k < whose_.size(); ++k) values_[whose_[k]] = std::move(reduced_[k].diagonal);
  return std::move(values_);
}

}  // namespace headscope::core
