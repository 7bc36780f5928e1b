#include "core/backend/backend.h"

#include "core/backend/cpu/cpu_backend.h"
#include "core/base/error.h"

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

std::shared_ptr<Backend> openBackend(const std::string& device) {
  if (device == "cuda") {
    throw Error("this build has no CUDA backend", "--device cuda", "use --device auto or --device cpu");
  }
  if (device != "auto" && device != "cpu") throw Error("unknown device \"" + device + "\"", "--device", "use auto, cpu or cuda");
  auto backend = std::make_shared<CpuBackend>();
  if (device == "auto") backend->setReason("this build has no CUDA backend");
  return backend;
}

}  // namespace headscope::core
