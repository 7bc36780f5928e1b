// Which backend the program gets. Apart from backend.cpp so that a plug-in can link the interface without the CPU's code.
#include "core/backend/open_backend.h"
#include "core/backend/backend.h"
#include "core/backend/cpu/cpu_backend.h"
#include "core/backend/cuda_plugin.h"
#include "core/backend/guarded_backend.h"
#include "core/backend/self_test.h"
#include "core/base/error.h"

namespace headscope::core {

PluginResult guarded(PluginResult loaded, const DiskCache& cache) {
  if (loaded.backend == nullptr) return loaded;
  const auto host = std::make_shared<CpuBackend>();
  const SelfTest test = cachedSelfTest(*loaded.backend, *host, cache);
  if (test.isLost) return {nullptr, "the card failed in its self-test: " + test.failures.back().what};
  const auto backend = std::make_shared<GuardedBackend>(loaded.backend, host);
  std::string failed;
  for (const SelfTest::Failure& f : test.failures) {
    backend->withdraw(f.op);
    failed += (failed.empty() ? "" : ", ") + std::string(nameOf(f.op));
  }
  std::string reason;
  if (test.leftSplitProducts) reason = "float32 products in bf16 parts failed the self-test, so they are made whole";
  if (!failed.empty()) reason += std::string(reason.empty() ? "" : "; ") + "failed the self-test, so the CPU computes: " + failed;
  backend->setReason(reason);
  return {backend, {}};
}

void usePrecision(Backend& device, Precision precision) {
  device.setPrecision(precision);
  if (precision == Precision::Float32) return;
  CpuBackend host;
  const std::string wrong = wrongAtPrecision(device, host);
  if (wrong.empty()) return;
  device.setPrecision(Precision::Float32);
  const std::string before = device.reason();
  device.setReason((before.empty() ? "" : before + "; ") + std::string(nameOf(precision)) + " failed its self-test (" + wrong +
                   "), so products are float32");
}

std::shared_ptr<Backend> deviceOnly(std::shared_ptr<Backend> backend) {
  return backend != nullptr && backend->name() != "cpu" ? std::move(backend) : nullptr;
}

Precision precisionOf(const std::string& word) {
  for (const Precision p : {Precision::Float32, Precision::Tf32, Precision::Bf16}) {
    if (nameOf(p) == word) return p;
  }
  throw Error("unknown precision \"" + word + "\"", "--precision", "use float32, tf32 or bf16");
}

std::shared_ptr<Backend> openBackend(const std::string& device, Precision precision) {
  if (device != "auto" && device != "cpu" && device != "cuda") {
    throw Error("unknown device \"" + device + "\"", "--device", "use auto, cpu or cuda");
  }
  PluginResult cuda;
  if (device != "cpu") cuda = guarded(loadCudaBackend(), DiskCache::ofUser());
  if (cuda.backend != nullptr) {
    usePrecision(*cuda.backend, precision);
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
