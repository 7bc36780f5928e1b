// Nystrom attention (Xiong 2021) on one head: landmarks are means of segments of real tokens; the start of the pseudo-inverse
// is taken on this head alone. Queries and keys both carry the square root of the model's scale. Not causal.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/segments.h"
#include "core/mechanisms/softmax_run.h"
#include "core/weights/dense.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;
constexpr int kSteps = 6;

/// a I - b
DoubleMatrix identityLess(double a, const DoubleMatrix& b) {
  DoubleMatrix out(b.rows, b.cols);
  for (size_t i = 0; i < b.values.size(); ++i) out.values[i] = -b.values[i];
  for (int64_t i = 0; i < b.rows; ++i) out(i, i) += a;
  return out;
}

DoubleMatrix scaled(DoubleMatrix a, double factor) {
  for (double& v : a.values) v *= factor;
  return a;
}

DoubleMatrix iterativeInverse(const DoubleMatrix& a) {
  std::vector<double> rows(static_cast<size_t>(a.rows), 0.0), cols(static_cast<size_t>(a.cols), 0.0);
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) {
      rows[static_cast<size_t>(r)] += std::abs(a(r, c));
      cols[static_cast<size_t>(c)] += std::abs(a(r, c));
    }
  }
  DoubleMatrix z = scaled(a.transposed(), 1.0 / (*std::ranges::max_element(rows) * *std::ranges::max_element(cols)));
  for (int step = 0; step < kSteps; ++step) {
    const DoubleMatrix az = multiply(a, z);
    z = scaled(multiply(z, identityLess(13.0, multiply(az, identityLess(15.0, multiply(az, identityLess(7.0, az)))))), 0.25);
  }
  return z;
}

DoubleMatrix exactInverse(const DoubleMatrix& a) {
  if (!std::ranges::all_of(a.values, [](double v) { return std::isfinite(v); })) {
    return scaled(a, std::numeric_limits<double>::quiet_NaN());
  }
  SmallSvd svd = smallSvd(a);
  const double cut = svd.sigma.empty() ? 0 : svd.sigma[0] * 1e-10;  // below: null space of the float32 landmarks
  for (int64_t i = 0; i < svd.right.rows; ++i) {
    const double s = svd.sigma[static_cast<size_t>(i)], inverse = s > cut ? 1.0 / s : 0.0;
    for (int64_t c = 0; c < svd.right.cols; ++c) svd.right(i, c) *= inverse;
  }
  return transposedMultiply(svd.right, svd.left);
}

class NystromRun : public HeadRun {
 public:
  NystromRun(const HeadInput& input, int64_t landmarks, bool isExact)
      : query_(input.query),
        key_(input.key),
        value_(input.value),
        scale_(static_cast<float>(input.scale)),
        segments_(input.count(), landmarks),
        isExact_(isExact),
        notes_(causalityNotes(false, input)) {
    if (landmarks > input.count()) notes_.push_back("fewer tokens than landmarks: one landmark a token");
    if (input.softcap > 0) notes_.push_back("the model's soft cap on scores is left out");
    landmarkQuery_ = segments_.means(input.query);
    landmarkKey_ = segments_.means(input.key);
    const int64_t m = segments_.parts;
    Matrix core(m, m);  // softmax(Qt Kt^T)
    productByTransposed(landmarkQuery_, landmarkKey_, core.view(), scale_, 0.0f, bound_);
    softmaxInPlace(core.view(), bound_);
    const DoubleMatrix wide = DoubleMatrix::from(core);
    inverse_ = (isExact ? exactInverse(wide) : iterativeInverse(wide)).toFloat();
    const double cube = std::pow(static_cast<double>(m), 3);
    bound_.operations += isExact ? 22.0 * cube : kSteps * 8.0 * cube;  // four products a step; the SVD's usual count
    bound_.operations += static_cast<double>(2 * input.count() * input.query.cols);
  }

  void output(MatrixView out, Job& job) const override {
    const int64_t n = query_.rows, m = segments_.parts;
    Work work = bound_;
    const SoftmaxHead summary{landmarkQuery_, key_, value_, scale_, 0.0, std::make_shared<PatternMask>(Visibility(n, false), nullptr),
                              nullptr};
    Matrix summaries(m, value_.cols), solved(m, value_.cols);  // B V, Z (B V)
    work.operations += softmaxAttention(summary, summaries.view(), job).operations(key_.cols, value_.cols);
    product(inverse_, summaries, solved.view(), 1.0f, 0.0f, work);
    Matrix weights(kRows, m);
    for (int64_t first = 0; first < n; first += kRows) {
      job.checkpoint();
      const MatrixView block = weights.view().rowsFrom(0, std::min(kRows, n - first));
      weigh(first, block, work);
      product(block, solved, out.rowsFrom(first, block.rows), 1.0f, 0.0f, work);
    }
    const std::lock_guard lock(mutex_);
    operations_ = work.operations;
  }

  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override {
    const int64_t n = query_.rows, m = segments_.parts;
    Work unused;
    Matrix weights(count, m), solved(count, m), summary(m, n);  // F, F Z, B
    weigh(first, weights.view(), unused);
    product(weights, inverse_, solved.view(), 1.0f, 0.0f, unused);
    const SoftmaxHead head{landmarkQuery_, key_, value_, scale_, 0.0, std::make_shared<PatternMask>(Visibility(n, false), nullptr),
                           nullptr};
    softmaxRows(head, 0, m, summary.view(), job);
    product(solved, summary, rows, 1.0f, 0.0f, unused);
  }

  Cost cost() const override {
    const std::lock_guard lock(mutex_);
    const double n = static_cast<double>(query_.rows), m = static_cast<double>(segments_.parts), k = static_cast<double>(query_.cols),
                 v = static_cast<double>(value_.cols);
    Cost cost;
    cost.operations = operations_;
    cost.bytesMoved = 4.0 * n * (3.0 * k + k + 2.0 * v);
    cost.bytesHeld = 4.0 * (2.0 * m * (k + v) + m * m + static_cast<double>(kRows) * m) + 8.0 * 4.0 * m * m;
    cost.pairs = cost.keptPairs = 2.0 * n * m + m * m;
    cost.formula = std::string("2 N m (2 k + 2 v + 4) + 2 N k + m v + 2 m^2 v + m^2 (2 k + 4) + ") + (isExact_ ? "22 m^3" : "48 m^3");
    cost.heldFormula = "4 (2 m (k + v) + m^2 + 64 m) + 32 m^2";
    return cost;
  }
  std::vector<std::string> notes() const override { return notes_; }

 private:
  void weigh(int64_t first, MatrixView weights, Work& work) const {
    productByTransposed(query_.rowsFrom(first, weights.rows), landmarkKey_, weights, scale_, 0.0f, work);
    softmaxInPlace(weights, work);
  }
  ConstMatrixView query_, key_, value_;
  float scale_;
  Segments segments_;
  bool isExact_;
  std::vector<std::string> notes_;
  Matrix landmarkQuery_, landmarkKey_;  // [m, k]
  Matrix inverse_;                      // A^+ [m, m]
  Work bound_;
  mutable std::mutex mutex_;
  mutable double operations_ = 0;
};

class NystromMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isCausal() const override { return false; }
  bool isNormalised() const override { return false; }  // rows sum to about 1, entries may be negative
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    return std::make_unique<NystromRun>(input, arguments().integer("landmarks"), arguments().text("inverse") == "exact");
  }
};

}  // namespace

MechanismKind nystromKind() {
  return {"nystrom",
          "three small softmaxes through segment means (Xiong 2021)",
          {Parameter::integer("landmarks", 64, 1, 1 << 12, "segments m whose means stand for queries and keys"),
           Parameter::word("inverse", "iterative", {"iterative", "exact"}, "six Newton-Schulz steps, or the pseudo-inverse by SVD")},
          [](const Arguments& a) { return std::make_unique<NystromMechanism>(a); }};
}

}  // namespace headscope::core
