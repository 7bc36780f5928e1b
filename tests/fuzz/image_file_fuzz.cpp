// Picture files of any bytes: an Error or the pixels that the file's size promises.
#include <cstddef>
#include <cstdint>
#include <string>

#include "app/image_file.h"
#include "core/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace headscope;
  try {
    const core::PixelImage image = app::decodeImage({reinterpret_cast<const char*>(data), size}, "input");
    if (image.data.size() != static_cast<size_t>(image.width * image.height * 3)) __builtin_trap();
  } catch (const core::Error&) {
  }
  return 0;
}
