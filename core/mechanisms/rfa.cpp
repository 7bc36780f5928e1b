#include <cmath>

#include "core/mechanisms/kinds.h"
#include "core/mechanisms/random.h"
#include "core/mechanisms/random_features.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

class RfaFeatures : public FeatureMap {
 public:
  explicit RfaFeatures(Matrix w) : w_(std::move(w)) {}
  int64_t count() const override { return 2 * w_.rows(); }
  bool isLogarithmic() const override { return false; }
  void queries(ConstMatrixView rows, MatrixView features, Work& work) const override { apply(rows, features, work); }
  void keys(ConstMatrixView rows, MatrixView features, Work& work) const override { apply(rows, features, work); }
  double bytes() const override { return 4.0 * static_cast<double>(w_.size()); }

 private:
  void apply(ConstMatrixView rows, MatrixView features, Work& work) const {
    const int64_t d = w_.rows();
    productByTransposed(rows, w_, features.colsFrom(0, d), 1.0f, 0.0f, work);
    const float scale = std::sqrt(1.0f / static_cast<float>(d));
    for (int64_t r = 0; r < rows.rows; ++r) {
      const float norm = Eigen::Map<const Eigen::VectorXf>(rows.row(r), rows.cols).norm();
      Eigen::Map<Eigen::ArrayXf> sine(features.row(r), d), cosine(features.row(r) + d, d);
      sine *= norm > 0 ? 1.0f / norm : 0.0f;
      cosine = sine.cos() * scale;
      sine = sine.sin() * scale;
    }
    work.operations += static_cast<double>(rows.rows) * static_cast<double>(2 * rows.cols + 5 * d);
  }
  Matrix w_;  // [D, k]
};

class RfaMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  bool isNormalised() const override { return false; }  // sums to 1, but entries may be negative
  bool isRandom() const override { return true; }
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    return rfaRun(input, gaussianRows(arguments().integer("features"), input.query.cols, arguments().seed()));
  }
};

}  // namespace

Matrix gaussianRows(int64_t rows, int64_t k, uint64_t seed) {
  Random random(seed);
  Matrix w(rows, k);
  for (int64_t i = 0; i < w.size(); ++i) w.data()[i] = static_cast<float>(random.normal());
  return w;
}

std::shared_ptr<const FeatureMap> rfaFeatures(Matrix w) { return std::make_shared<RfaFeatures>(std::move(w)); }

std::unique_ptr<HeadRun> rfaRun(const HeadInput& input, Matrix w) {
  return std::make_unique<FeatureRun>(
      input, rfaFeatures(std::move(w)),
      std::vector<std::string>{"a what-if: queries and keys on the unit sphere, kernel width 1", "weights may be negative"},
      "2 N (2 k D + 2 k + 5 D), m = 2 D");
}

MechanismKind rfaKind() {
  return {"rfa",
          "random sine and cosine features on the unit sphere (Peng 2021)",
          {Parameter::integer("features", 64, 1, 1 << 16, "frequencies D; 2 D features"),
           Parameter::integer("seed", 1, 0, 1 << 30, "of the frequencies")},
          [](const Arguments& a) { return std::make_unique<RfaMechanism>(a); }};
}

}  // namespace headscope::core
