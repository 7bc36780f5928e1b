#pragma once
// Picture files into pixels, with limits: PNG, JPEG and what else Qt reads.
#include <filesystem>

#include "core/image/pixel_image.h"

namespace headscope::app {

/// Throws core::Error naming the file: absent, not an image, truncated, a side of 0 or over core::kMaxImageSide, over 64 megapixels.
core::PixelImage readImageFile(const std::filesystem::path& path);

}  // namespace headscope::app
