// Headers of safetensors files and of their index.
#include <span>

#include "core/base/error.h"
#include "core/checkpoint/safetensors_file.h"
#include "core/checkpoint/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headscope::core;
  try {
    const SafetensorsHeader header = parseSafetensors(std::as_bytes(std::span(data, size)), "fuzz");
    double sum = 0;
    for (const TensorInfo& tensor : header.tensors) {
      if (tensor.count() > 0)
        sum += decodeOne(tensor.dtype, tensor.data + (tensor.count() - 1) * static_cast<int64_t>(sizeOf(tensor.dtype)));
    }
    volatile double keep = sum;
    (void)keep;
  } catch (const Error&) {
  }
  try {
    parseShardIndex(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
  } catch (const Error&) {
  }
  return 0;
}
