#include "core/mechanisms/key_projection.h"

#include "core/mechanisms/vector_math.h"

#include <Eigen/Eigenvalues>

namespace headscope::core {
namespace {

Matrix projected(ConstMatrixView rows, const Eigen::VectorXd& mean, const Eigen::MatrixXd& axes) {
  Matrix out(rows.rows, 2);
  for (int64_t r = 0; r < rows.rows; ++r) {
    const Eigen::VectorXd x = Eigen::Map<const Eigen::VectorXf>(rows.row(r), rows.cols).cast<double>() - mean;
    for (int64_t a = 0; a < 2; ++a) out(r, a) = a < axes.cols() ? static_cast<float>(axes.col(a).dot(x)) : 0.0f;
  }
  return out;
}

}  // namespace

KeyProjection projectKeys(ConstMatrixView keys, ConstMatrixView centres) {
  const int64_t k = keys.cols;
  Eigen::VectorXd mean = Eigen::VectorXd::Zero(k);
  for (int64_t r = 0; r < keys.rows; ++r)
    mean += Eigen::Map<const Eigen::VectorXf>(keys.row(r), k).cast<double>() / static_cast<double>(keys.rows);
  Eigen::MatrixXd covariance = Eigen::MatrixXd::Zero(k, k);
  for (int64_t r = 0; r < keys.rows; ++r) {
    const Eigen::VectorXd x = Eigen::Map<const Eigen::VectorXf>(keys.row(r), k).cast<double>() - mean;
    covariance.noalias() += x * x.transpose();
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);  // ascending
  Eigen::MatrixXd axes(k, std::min<int64_t>(2, k));
  KeyProjection out;
  for (int64_t a = 0; a < axes.cols(); ++a) {
    axes.col(a) = solver.eigenvectors().col(k - 1 - a);
    Eigen::Index largest = 0;
    axes.col(a).cwiseAbs().maxCoeff(&largest);
    if (axes(largest, a) < 0) axes.col(a) *= -1.0;
    const double all = covariance.trace();
    out.explained[a] = all > 0 ? solver.eigenvalues()[k - 1 - a] / all : 0;
  }
  out.keys = projected(keys, mean, axes);
  out.centres = projected(centres, mean, axes);
  return out;
}

}  // namespace headscope::core
