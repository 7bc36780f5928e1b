// Linear attention (Katharopoulos 2020): phi(x) = elu(x) + 1 elementwise, no 1/sqrt(k).

#include "core/mechanisms/feature_attention.h"
#include "core/mechanisms/kinds.h"
#include "core/mechanisms/vector_math.h"

namespace headscope::core {
namespace {

class EluFeatures : public FeatureMap {
 public:
  explicit EluFeatures(int64_t width) : width_(width) {}
  int64_t count() const override { return width_; }
  bool isLogarithmic() const override { return false; }
  void queries(ConstMatrixView rows, MatrixView features, Work& work) const override { apply(rows, features, work); }
  void keys(ConstMatrixView rows, MatrixView features, Work& work) const override { apply(rows, features, work); }
  double bytes() const override { return 0; }

 private:
  static void apply(ConstMatrixView rows, MatrixView features, Work& work) {
    for (int64_t r = 0; r < rows.rows; ++r) {
      const Eigen::Map<const Eigen::ArrayXf> x(rows.row(r), rows.cols);
      Eigen::Map<Eigen::ArrayXf>(features.row(r), features.cols) = (x > 0.0f).select(x + 1.0f, x.min(0.0f).exp());
    }
    work.operations += static_cast<double>(rows.rows * rows.cols);
  }
  int64_t width_;
};

class LinearMechanism : public NamedMechanism {
 public:
  using NamedMechanism::NamedMechanism;
  std::unique_ptr<HeadRun> bind(const HeadInput& input, Job&) const override {
    return std::make_unique<FeatureRun>(input, std::make_shared<EluFeatures>(input.query.cols),
                                        std::vector<std::string>{"a what-if: the checkpoint was not trained with it"}, "2 N m, m = k");
  }
};

}  // namespace

MechanismKind linearKind() {
  return {"linear", "elu(x) + 1 features and running sums (Katharopoulos 2020)", {}, [](const Arguments& a) {
            return std::make_unique<LinearMechanism>(a);
          }};
}

}  // namespace headscope::core
