#pragma once
// PixelImage: a decoded picture, 8 bits a channel, as files hold it; and its resizing exactly as Pillow does it, because that is
// what image processors were trained with. Decoding files is the app's work.
#include <cstdint>
#include <vector>

namespace headscope::core {

struct PixelImage {
  int64_t width = 0, height = 0;
  int64_t channels = 3;       // 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha
  std::vector<uint8_t> data;  // [height, width, channels]
};

/// Largest side that is taken, in pixels.
inline constexpr int64_t kMaxImageSide = 32768;

/// Gray is repeated, alpha is dropped, as Pillow's convert("RGB"). Throws Error on empty, oversized or inconsistent images.
PixelImage toRgb(PixelImage image);

/// Pillow's resampling codes.
enum class Resampling { Nearest = 0, Lanczos = 1, Bilinear = 2, Bicubic = 3, Box = 4, Hamming = 5 };

/// Pillow's Image.resize for 8-bit channels: antialiased when shrinking, horizontal pass then vertical pass, coefficients in
/// 22-bit fixed point, 8-bit values between the passes. Bit-exact for Pillow up to 12; 13 takes the vertical pass first where the
/// height shrinks by more than twice what the width does, so that some values differ by one. (Pillow, src/libImaging/Resample.c)
PixelImage resized(const PixelImage& image, int64_t width, int64_t height, Resampling resampling);

/// The middle width x height pixels, padded with zeros where the image is smaller (as transformers' center_crop).
PixelImage centerCropped(const PixelImage& image, int64_t width, int64_t height);

}  // namespace headscope::core
