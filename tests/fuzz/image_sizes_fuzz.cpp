// Images of any claimed size and any preprocessor_config.json: an Error or pixels of the model's size, never more memory than the
// limits allow.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/base/error.h"
#include "core/image/image_processor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headscope::core;
  if (size < 8) return 0;
  // Header: width, height (16 bit each), channels, then the config text; pixels are made up so that large sizes stay cheap.
  const int64_t width = data[0] | data[1] << 8, height = data[2] | data[3] << 8, channels = data[4];
  const ImageSpec spec{8, 8, 4, 3};
  try {
    const auto processor = ImageProcessor::parse({reinterpret_cast<const char*>(data) + 5, size - 5}, "input", spec);
    PixelImage image{width, height, channels, {}};
    const int64_t bytes = width * height * channels;
    if (bytes <= (1 << 20)) {
      for (int64_t i = 0; i < bytes; ++i) image.data.push_back(static_cast<uint8_t>(i * 31));
    }
    if (processor.pixels(image).size() != 3 * 64) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
