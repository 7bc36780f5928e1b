#include "core/backend/backend.h"

#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cuda_plugin.h"
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
  if (device != "auto" && device != "cpu" && device != "cuda") {
    throw Error("unknown device \"" + device + "\"", "--device", "use auto, cpu or cuda");
  }
  PluginResult cuda;
  if (device != "cpu") cuda = loadCudaBackend();
  if (cuda.backend != nullptr) return cuda.backend;
  if (device == "cuda") throw Error("no CUDA device can be had: " + cuda.reason, "--device cuda", "use --device auto or --device cpu");
  auto backend = std::make_shared<CpuBackend>();
  backend->setReason(cuda.reason);
  return backend;
}

}  // namespace headscope::core
