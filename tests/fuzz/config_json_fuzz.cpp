// config.json of every family.
#include <string>

#include "core/base/error.h"
#include "core/model/model_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    headscope::core::parseModelSpec(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
  } catch (const headscope::core::Error&) {
  }
  return 0;
}
