#pragma once
// Picture files into pixels, with limits: PNG, JPEG and what else Qt reads. A file that ends too early is an error, as it is to
// the image processors that models were trained with, never a picture that is partly grey.
#include <filesystem>
#include <string>

#include "core/image/pixel_image.h"
#include "core/model/model.h"
#include "core/model/prompt.h"

namespace headscope::app {

/// Pixels of the file's bytes; `where` names it. Throws core::Error: not an image, damaged, truncated, a side of 0 or over
/// core::kMaxImageSide, over 64 megapixels.
core::PixelImage decodeImage(const std::string& bytes, const std::string& where);

/// The prompt of a picture file, or of a safetensors file that holds pixel_values, for a model that reads images: preprocessed
/// as the model's folder says.
std::shared_ptr<const core::Prompt> promptFromImageFile(const core::Model& model, const std::filesystem::path& path);
/// By which a session recognises the picture that it was made with.
std::string imageFileHash(const std::filesystem::path& path);

}  // namespace headscope::app
