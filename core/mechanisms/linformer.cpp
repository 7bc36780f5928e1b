#include "core/mechanisms/linformer.h"

#include <cmath>
#include <mutex>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/random_features.h"
#include "core/mechanisms/segments.h"
#include "core/mechanisms/softmax_run.h"
#include "core/weights/dense.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;

/// softmax(Q Kp^T) Vp with p projected keys and values; the map is softmax(Q Kp^T) F.
class ProjectedRun : public HeadRun {
 public:
  ProjectedRun(const HeadInput& input, Matrix projectedKey, Matrix projectedValue, std::function<void(ConstMatrixView, MatrixView)> spread,
               double projectionOperations, double projectionBytes, std::string projectionFormula)
      : query_(input.query),
        count_(input.count()),
        scale_(input.scale),
        softcap_(input.softcap),
        key_(std::move(projectedKey)),
        value_(std::move(projectedValue)),
        spread_(std::move(spread)),
        projectionOperations_(projectionOperations),
        projectionBytes_(projectionBytes),
        projectionFormula_(std::move(projectionFormula)),
        notes_(causalityNotes(false, input)) {
    notes_.push_back("a what-if: projections are not trained");
  }

  void output(MatrixView out, Job& job) const override {
    Work work;
    Matrix weights(kRows, key_.rows());
    for (int64_t first = 0; first < count_; first += kRows) {
      job.checkpoint();
      const int64_t rows = std::min(kRows, count_ - first);
      const MatrixView block = weights.view().rowsFrom(0, rows);
      weigh(first, block, work);
      product(block, value_, out.rowsFrom(first, rows), 1.0f, 0.0f, work);
    }
    const std::lock_guard lock(mutex_);
    operations_ = work.operations + projectionOperations_;
  }

  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override {
    Work unused;
    Matrix weights(count, key_.rows());
    job.checkpoint();
    weigh(first, weights.view(), unused);
    spread_(weights, rows);
  }

  Cost cost() const override {
    const std::lock_guard lock(mutex_);
    const double n = static_cast<double>(count_), p = static_cast<double>(key_.rows()), k = static_cast<double>(query_.cols),
                 v = static_cast<double>(value_.cols());
    Cost cost;
    cost.operations = operations_;
    cost.bytesMoved = 4.0 * 2.0 * n * (k + v) + projectionBytes_;
    cost.bytesHeld = 4.0 * p * (k + v) + projectionBytes_ + 4.0 * static_cast<double>(kRows) * p;
    cost.pairs = cost.keptPairs = n * p;
    cost.formula = projectionFormula_ + " + N p (2 k + 2 v + 4)";
    cost.heldFormula = "4 p (k + v) + projections";
    return cost;
  }
  std::vector<std::string> notes() const override { return notes_; }

 private:
  void weigh(int64_t first, MatrixView weights, Work& work) const {
    productByTransposed(query_.rowsFrom(first, weights.rows), key_, weights, static_cast<float>(scale_), 0.0f, work);
    for (int64_t r = 0; r < weights.rows; ++r) applySoftcap(softcap_, weights.row(r), weights.cols);
    softmaxInPlace(weights, work);
  }
  ConstMatrixView query_;
  int64_t count_;
  double scale_, softcap_;
  Matrix key_, value_;                                                    // [p, k], [p, v]
  std::function<void(ConstMatrixView weights, MatrixView rows)> spread_;  // [n, p] -> [n, N]
  double projectionOperations_, projectionBytes_;
  std::string projectionFormula_;
  std::vector<std::string> notes_;
  mutable std::mutex mutex_;
  mutable double operations_ = 0;
};

std::unique_ptr<HeadRun> poolRun(const HeadInput& input, int64_t rank) {
  const Segments segments(input.count(), rank);
  const double n = static_cast<double>(input.count());
  return std::make_unique<ProjectedRun>(
      input, segments.means(input.key), segments.means(input.value),
      [segments](ConstMatrixView weights, MatrixView rows) {
        for (int64_t p = 0; p < segments.parts; ++p) {
          const float share = 1.0f / static_cast<float>(segments.length(p));
          for (int64_t r = 0; r < rows.rows; ++r) std::fill_n(rows.row(r) + segments.begin(p), segments.length(p), weights(r, p) * share);
        }
      },
      n * static_cast<double>(input.key.cols + input.value.cols), 0.0, "N (k + v)");
}

/// The best of rank p: U (U^T A) V.
class LeadingSpaceRun : public HeadRun {
 public:
  LeadingSpaceRun(const HeadInput& input, int64_t rank, uint64_t seed, Job& job)
      : value_(input.value),
        basis_(leadingRowSpace(input, rank, seed, job)),
        folded_(Matrix::zeros(basis_.cols(), input.count())),
        notes_(causalityNotes(false, input)) {
    const int64_t n = input.count();
    const SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(Visibility(input), nullptr));
    Matrix rows(kRows, n);
    Work work;
    for (int64_t first = 0; first < n; first += kRows) {
      const int64_t count = std::min(kRows, n - first);
      softmaxRows(head, first, count, rows.view().rowsFrom(0, count), job);
      transposedProduct(basis_.view().rowsFrom(first, count), rows.view().rowsFrom(0, count), folded_.view(), 1.0f, 1.0f, work);
    }
    notes_.push_back("an oracle: the best map of this rank, taken from the true one; its cost here leaves out finding it");
  }
  void output(MatrixView out, Job& job) const override {
    job.checkpoint();
    Work work;
    Matrix middle(basis_.cols(), value_.cols);  // U^T A V [p, v]
    product(folded_, value_, middle.view(), 1.0f, 0.0f, work);
    product(basis_, middle, out, 1.0f, 0.0f, work);
    const std::lock_guard lock(mutex_);
    operations_ = work.operations;
  }
  void mapRows(int64_t first, int64_t count, MatrixView rows, Job& job) const override {
    job.checkpoint();
    Work unused;
    product(basis_.view().rowsFrom(first, count), folded_, rows, 1.0f, 0.0f, unused);
  }
  Cost cost() const override {
    const std::lock_guard lock(mutex_);
    const double n = static_cast<double>(value_.rows), p = static_cast<double>(basis_.cols()), v = static_cast<double>(value_.cols);
    Cost cost;
    cost.operations = operations_;
    cost.bytesMoved = 4.0 * (2.0 * n * p + 2.0 * n * v);
    cost.bytesHeld = 4.0 * (2.0 * n * p + p * v);
    cost.formula = "4 N p v";
    cost.heldFormula = "4 (2 N p + p v)";
    return cost;
  }
  std::vector<std::string> notes() const override { return notes_; }

 private:
  ConstMatrixView value_;
  Matrix basis_, folded_;  // U [N, p], U^T A [p, N]
  std::vector<std::string> notes_;
  mutable std::mutex mutex_;
  mutable double operations_ = 0;
};

class LinformerMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isCausal() const override { return false; }
  bool isNormalised() const override { return arguments().text("projection") == "pool"; }
  bool isRandom() const override { return arguments().text("projection") == "gaussian"; }
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job& job) const override {
    const int64_t n = input.count(), rank = std::min(arguments().integer("rank"), n);
    const std::string& projection = arguments().text("projection");
    if (projection == "pool") return poolRun(input, rank);
    if (projection == "svd") return std::make_unique<LeadingSpaceRun>(input, rank, arguments().seed(), job);
    Matrix e = gaussianRows(rank, n, 2 * arguments().seed()), f = gaussianRows(rank, n, 2 * arguments().seed() + 1);
    const float share = 1.0f / std::sqrt(static_cast<float>(rank));
    for (Matrix* m : {&e, &f}) {
      for (int64_t i = 0; i < m->size(); ++i) m->data()[i] *= share;
    }
    return linformerRun(input, std::move(e), std::move(f));
  }
};

}  // namespace

std::unique_ptr<HeadRun> linformerRun(const HeadInput& input, Matrix e, Matrix f) {
  Work work;
  Matrix key(e.rows(), input.key.cols), value(f.rows(), input.value.cols);
  product(e, input.key, key.view(), 1.0f, 0.0f, work);
  product(f, input.value, value.view(), 1.0f, 0.0f, work);
  const double bytes = 4.0 * static_cast<double>(e.size() + f.size());
  auto kept = std::make_shared<Matrix>(std::move(f));
  return std::make_unique<ProjectedRun>(
      input, std::move(key), std::move(value),
      [kept](ConstMatrixView weights, MatrixView rows) {
        Work unused;
        product(weights, *kept, rows, 1.0f, 0.0f, unused);
      },
      work.operations, bytes, "2 N p (k + v)");
}

Matrix leadingRowSpace(const HeadInput& input, int64_t p, uint64_t seed, Job& job) {
  const int64_t n = input.count(), width = std::min(n, p + 16);
  const SoftmaxHead head = SoftmaxHead::of(input, std::make_shared<PatternMask>(Visibility(input), nullptr));
  Work work;
  Matrix rows(kRows, n), basis = gaussianRows(n, width, seed), left(n, width);
  double captured = -1;
  for (int step = 0; step < 60; ++step) {
    basis = thinQr(DoubleMatrix::from(basis).transposed()).basis.transposed().toFloat();
    Matrix next = Matrix::zeros(n, width);  // A^T A basis, a block of rows of A at a time
    for (int64_t first = 0; first < n; first += kRows) {
      job.checkpoint();
      const int64_t count = std::min(kRows, n - first);
      const MatrixView block = rows.view().rowsFrom(0, count), part = left.view().rowsFrom(first, count);
      softmaxRows(head, first, count, block, job);
      product(block, basis, part, 1.0f, 0.0f, work);
      transposedProduct(block, part, next.view(), 1.0f, 1.0f, work);
    }
    const SmallSvd svd = smallSvd(DoubleMatrix::from(left));
    double energy = 0;
    for (int64_t i = 0; i < std::min(p, width); ++i) energy += svd.sigma[static_cast<size_t>(i)] * svd.sigma[static_cast<size_t>(i)];
    if (width == n || (captured > 0 && energy - captured < 1e-7 * energy) || step == 59) {
      Matrix out(n, std::min(p, width));
      for (int64_t r = 0; r < n; ++r) {
        for (int64_t c = 0; c < out.cols(); ++c) out(r, c) = static_cast<float>(svd.left(c, r));
      }
      return out;
    }
    captured = energy;
    basis = std::move(next);
  }
  return {};
}

MechanismKind linformerKind() {
  return {"linformer",
          "keys and values projected from N to rank rows (Wang 2020)",
          {Parameter::integer("rank", 64, 1, 1 << 16, "projected rows p"),
           Parameter::word("projection", "pool", {"pool", "gaussian", "svd"},
                           "means of segments, N(0, 1/p), or the best of this rank as an oracle"),
           Parameter::integer("seed", 1, 0, 1 << 30, "of the Gaussian projections")},
          [](const Arguments& a) { return std::make_unique<LinformerMechanism>(a); }};
}

}  // namespace headscope::core
