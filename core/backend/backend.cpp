#include "core/backend/backend.h"

namespace headscope::core {

Tensor Backend::upload(ConstMatrixView from) {
  Tensor tensor = allocate(from.rows, from.cols);
  write(from, tensor);
  return tensor;
}

Matrix Backend::download(const Tensor& from) {
  Matrix matrix(from.rows, from.cols);
  read(from, matrix.view());
  return matrix;
}

}  // namespace headscope::core
