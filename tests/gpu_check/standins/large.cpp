// Decompositions of large matrices as those of small ones (blas.cpp), in place of core/weights/large_eigen.cpp and large_svd.cpp, which
// ask LAPACK for much more. The golden models' matrices are small.
#include "core/weights/large_eigen.h"
#include "core/weights/large_svd.h"

namespace headscope::core {

std::vector<double> largeSymmetricEigen(DoubleMatrix a, DoubleMatrix& vectors, const Job&, const std::function<void(double)>&) {
  return symmetricEigen(std::move(a), vectors);
}
std::vector<double> largeSymmetricEigenvalues(DoubleMatrix a, const Job&) { return symmetricEigenvalues(std::move(a)); }
std::vector<double> largeSingularValues(ConstMatrixView factor, const Job&) { return singularValues(DoubleMatrix::from(factor)); }
DoubleMatrix largeThinQrR(DoubleMatrix factor, const Job&) { return thinQrR(std::move(factor)); }

}  // namespace headscope::core
