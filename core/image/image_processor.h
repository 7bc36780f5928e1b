#pragma once
// ImageProcessor: what preprocessor_config.json asks for: resize, centre crop, rescale, normalise; and the prompt that an image
// becomes. What the file asks for and isn't supported is named and refused.
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/image/pixel_image.h"
#include "core/model/model_spec.h"
#include "core/model/prompt.h"
#include "core/tensor/matrix.h"

namespace headscope::core {

class ImageProcessor {
 public:
  /// FOLDER/preprocessor_config.json; without the file the ViT defaults (mean and deviation 0.5, bilinear), with a note.
  static ImageProcessor open(const std::filesystem::path& folder, const ImageSpec& spec);
  /// Throws Error naming `where` and the field.
  static ImageProcessor parse(std::string_view json, const std::string& where, const ImageSpec& spec);

  /// [channels, height * width], normalised. Throws Error where the result is not the size that the model takes.
  Matrix pixels(const PixelImage& image) const;
  /// What the model sees of `pixels` [channels, height * width], for people: normalisation and rescaling undone, rounded to 8 bits.
  PixelImage picture(ConstMatrixView pixels) const;
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  ImageSpec spec_;
  bool doesResize_ = true, doesCrop_ = false, doesRescale_ = true, doesNormalise_ = true;
  int64_t resizeHeight_ = 0, resizeWidth_ = 0, shortestEdge_ = 0;  // shortestEdge 0: height and width apply
  int64_t cropHeight_ = 0, cropWidth_ = 0;
  Resampling resampling_ = Resampling::Bilinear;
  double rescale_ = 1.0 / 255.0;
  std::array<double, 3> mean_{0.5, 0.5, 0.5}, deviation_{0.5, 0.5, 0.5};
  std::vector<std::string> notes_;
};

/// The prompt of an image: the class token, then the patches row by row. Throws Error unless pixels are
/// [channels, height * width] of the spec.
std::shared_ptr<Prompt> promptFromPixels(const ImageSpec& spec, Matrix pixels);

}  // namespace headscope::core
