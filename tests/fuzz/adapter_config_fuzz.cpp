// adapter_config.json, and its patterns matched against a module's name.
#include <string>

#include "core/base/error.h"
#include "core/model/adapter_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headscope::core;
  try {
    const AdapterConfig config = parseAdapterConfig(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    for (const char* name : {"model.layers.3.self_attn.q_proj", "transformer.h.11.attn.c_attn", "x"}) {
      config.isTarget(name);
      config.scaleOf(name);
    }
  } catch (const Error&) {
  }
  return 0;
}
