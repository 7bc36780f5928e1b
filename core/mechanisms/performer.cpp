#include <cmath>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/random_features.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

class PerformerFeatures : public FeatureMap {
 public:
  PerformerFeatures(Matrix w, double scale) : w_(std::move(w)), scale_(scale) {}
  int64_t count() const override { return w_.rows(); }
  bool isLogarithmic() const override { return true; }
  void queries(ConstMatrixView rows, MatrixView features, Work& work) const override { apply(rows, features, work); }
  void keys(ConstMatrixView rows, MatrixView features, Work& work) const override { apply(rows, features, work); }
  double bytes() const override { return 4.0 * static_cast<double>(w_.size()); }

 private:
  void apply(ConstMatrixView rows, MatrixView features, Work& work) const {
    productByTransposed(rows, w_, features, static_cast<float>(std::sqrt(scale_)), 0.0f, work);
    for (int64_t r = 0; r < rows.rows; ++r) {
      const float half = 0.5f * static_cast<float>(scale_) * Eigen::Map<const Eigen::VectorXf>(rows.row(r), rows.cols).squaredNorm();
      Eigen::Map<Eigen::ArrayXf>(features.row(r), features.cols) -= half + 0.5f * std::log(static_cast<float>(w_.rows()));
    }
    work.operations += static_cast<double>(rows.rows) * static_cast<double>(2 * rows.cols + features.cols);
  }
  Matrix w_;  // [m, k]
  double scale_;
};

class PerformerMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isRandom() const override { return true; }
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    return performerRun(input, orthogonalRows(arguments().integer("features"), input.query.cols, arguments().seed()));
  }
};

}  // namespace

Matrix orthogonalRows(int64_t rows, int64_t k, uint64_t seed) {
  Random random(seed);
  Matrix w(rows, k);
  Eigen::MatrixXd block(k, k);  // columns become the rows of w
  for (int64_t begin = 0; begin < rows; begin += k) {
    for (int64_t c = 0; c < k; ++c) {
      do {
        for (int64_t i = 0; i < k; ++i) block(i, c) = random.normal();
        for (int twice = 0; twice < 2; ++twice) {  // the second pass takes off what rounding left in the first
          for (int64_t p = 0; p < c; ++p) block.col(c) -= block.col(p).dot(block.col(c)) * block.col(p);
        }
      } while (block.col(c).norm() < 1e-8);
      block.col(c).normalize();
    }
    for (int64_t r = begin; r < std::min(rows, begin + k); ++r) {
      double squares = 0;
      for (int64_t i = 0; i < k; ++i) squares += std::pow(random.normal(), 2);
      for (int64_t i = 0; i < k; ++i) w(r, i) = static_cast<float>(block(i, r - begin) * std::sqrt(squares));
    }
  }
  return w;
}

std::shared_ptr<const FeatureMap> performerFeatures(Matrix w, double scale) {
  return std::make_shared<PerformerFeatures>(std::move(w), scale);
}

std::unique_ptr<HeadRun> performerRun(const HeadInput& input, Matrix w) {
  return std::make_unique<FeatureRun>(input, performerFeatures(std::move(w), input.scale), std::vector<std::string>{},
                                      "2 N (2 k m + 2 k + 2 m)");
}

MechanismKind performerKind() {
  return {"performer",
          "positive orthogonal random features of the softmax kernel (Choromanski 2021)",
          {Parameter::integer("features", 128, 1, 1 << 16, "features m"), Parameter::integer("seed", 1, 0, 1 << 30, "of the features")},
          [](const Arguments& a) { return std::make_unique<PerformerMechanism>(a); }};
}

}  // namespace headscope::core
