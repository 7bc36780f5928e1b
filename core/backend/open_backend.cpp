// Which backend the program gets. Apart from backend.cpp so that a plug-in can link the interface without the CPU's code.
#include "core/backend/backend.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cuda_plugin.h"
#include "core/base/error.h"

namespace headscope::core {

std::shared_ptr<Backend> openBackend(const std::string& device, Precision precision) {
  if (device != "auto" && device != "cpu" && device != "cuda") {
    throw Error("unknown device \"" + device + "\"", "--device", "use auto, cpu or cuda");
  }
  PluginResult cuda;
  if (device != "cpu") cuda = loadCudaBackend();
  if (cuda.backend != nullptr) {
    cuda.backend->setPrecision(precision);
    return cuda.backend;
  }
  if (device == "cuda") throw Error("no CUDA device can be had: " + cuda.reason, "--device cuda", "use --device auto or --device cpu");
  auto backend = std::make_shared<CpuBackend>();
  if (device == "cpu") {
    backend->setPrecision(precision);
  } else if (precision != Precision::Float32) {
    cuda.reason += ", so products are float32 and not " + std::string(nameOf(precision));
  }
  backend->setReason(cuda.reason);
  return backend;
}

}  // namespace headscope::core
