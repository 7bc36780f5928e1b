// Nystrom attention (Xiong 2021) on one head: landmarks are means of segments of real tokens; the start of the pseudo-inverse
// is taken on this head alone. Queries and keys both carry the square root of the model's scale. Not causal.
#include "core/mechanisms/vector_math.h"

#include <cmath>
#include <mutex>

#include <Eigen/SVD>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/products.h"
#include "core/mechanisms/segments.h"
#include "core/mechanisms/softmax_run.h"

namespace headscope::core {
namespace {

constexpr int64_t kRows = 64;
constexpr int kSteps = 6;

Eigen::MatrixXd iterativeInverse(const Eigen::MatrixXd& a) {
  const Eigen::MatrixXd identity = Eigen::MatrixXd::Identity(a.rows(), a.cols());
  Eigen::MatrixXd z = a.transpose() / (a.cwiseAbs().colwise().sum().maxCoeff() * a.cwiseAbs().rowwise().sum().maxCoeff());
  for (int step = 0; step < kSteps; ++step) {
    const Eigen::MatrixXd az = a * z;
    z = 0.25 * z * (13.0 * identity - az * (15.0 * identity - az * (7.0 * identity - az)));
  }
  return z;
}

Eigen::MatrixXd exactInverse(const Eigen::MatrixXd& a) {
  const Eigen::BDCSVD<Eigen::MatrixXd> svd(a, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const Eigen::VectorXd s = svd.singularValues();
  const double cut = s.size() > 0 ? s[0] * 1e-10 : 0;  // below: null space of the float32 landmarks
  const Eigen::VectorXd inverse = (s.array() > cut).select(s.array().inverse(), 0.0);
  return svd.matrixV() * inverse.asDiagonal() * svd.matrixU().transpose();
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
    const Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> view(core.data(), m, m);
    const Eigen::MatrixXd inverse = isExact ? exactInverse(view.cast<double>()) : iterativeInverse(view.cast<double>());
    inverse_ = Matrix(m, m);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < m; ++c) inverse_(r, c) = static_cast<float>(inverse(r, c));
    }
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
