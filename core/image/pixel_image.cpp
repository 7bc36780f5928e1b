#include "core/image/pixel_image.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "core/base/error.h"

namespace headscope::core {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;

double sinc(double x) { return x == 0.0 ? 1.0 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x); }

double supportOf(Resampling r) {
  switch (r) {
    case Resampling::Box:
      return 0.5;
    case Resampling::Bicubic:
      return 2.0;
    case Resampling::Lanczos:
      return 3.0;
    default:
      return 1.0;
  }
}

double filterValue(Resampling r, double x) {
  x = std::abs(x);
  switch (r) {
    case Resampling::Box:
      return x <= 0.5 ? 1.0 : 0.0;
    case Resampling::Bilinear:
      return x < 1.0 ? 1.0 - x : 0.0;
    case Resampling::Hamming:
      return x >= 1.0 ? 0.0 : sinc(x) * (0.54 + 0.46 * std::cos(std::numbers::pi * x));
    case Resampling::Bicubic:
      if (x < 1.0) return ((1.5 * x) - 2.5) * x * x + 1.0;
      return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 : 0.0;
    case Resampling::Lanczos:
      return x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
    case Resampling::Nearest:
      break;
  }
  return 0.0;
}

/// Which inputs make one output, and their fixed-point weights.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

std::vector<Taps> tapsFor(int64_t in, int64_t out, Resampling resampling) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double filterScale = std::max(scale, 1.0);
  const double support = supportOf(resampling) * filterScale;
  std::vector<Taps> all(static_cast<size_t>(out));
  std::vector<double> weights;
  for (int64_t o = 0; o < out; ++o) {
    const double center = (static_cast<double>(o) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t last = std::min<int64_t>(in, static_cast<int64_t>(center + support + 0.5));
    weights.clear();
    double sum = 0.0;
    for (int64_t x = first; x < last; ++x) {
      weights.push_back(filterValue(resampling, (static_cast<double>(x) - center + 0.5) / filterScale));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<size_t>(o)];
    taps.first = first;
    for (double w : weights) {
      if (sum != 0.0) w /= sum;
      taps.weights.push_back(static_cast<int32_t>((w < 0 ? -0.5 : 0.5) + w * (1 << kPrecisionBits)));
    }
  }
  return all;
}

uint8_t clipped(int64_t fixed) { return static_cast<uint8_t>(std::clamp<int64_t>(fixed >> kPrecisionBits, 0, 255)); }

/// Resamples along one axis; `step` bytes between neighbours on that axis, `lines` lines of `lineStep` bytes.
void resampleLine(const uint8_t* source, int64_t step, const std::vector<Taps>& taps, uint8_t* target, int64_t targetStep) {
  for (size_t o = 0; o < taps.size(); ++o) {
    int64_t sum = int64_t{1} << (kPrecisionBits - 1);
    const uint8_t* in = source + taps[o].first * step;
    for (const int32_t w : taps[o].weights) {
      sum += static_cast<int64_t>(*in) * w;
      in += step;
    }
    target[static_cast<int64_t>(o) * targetStep] = clipped(sum);
  }
}

PixelImage nearest(const PixelImage& image, int64_t width, int64_t height) {
  PixelImage out{width, height, image.channels, std::vector<uint8_t>(static_cast<size_t>(width * height * image.channels))};
  const double sx = static_cast<double>(image.width) / static_cast<double>(width);
  const double sy = static_cast<double>(image.height) / static_cast<double>(height);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t fromY = std::min(image.height - 1, static_cast<int64_t>((static_cast<double>(y) + 0.5) * sy));
    for (int64_t x = 0; x < width; ++x) {
      const int64_t fromX = std::min(image.width - 1, static_cast<int64_t>((static_cast<double>(x) + 0.5) * sx));
      std::copy_n(&image.data[static_cast<size_t>((fromY * image.width + fromX) * image.channels)], image.channels,
                  &out.data[static_cast<size_t>((y * width + x) * image.channels)]);
    }
  }
  return out;
}

void checkSide(int64_t value, const char* what) {
  if (value < 1 || value > kMaxImageSide) {
    throw Error("image " + std::string(what) + " is " + std::to_string(value) + " pixels, not between 1 and " +
                std::to_string(kMaxImageSide));
  }
}

void checkImage(const PixelImage& image) {
  checkSide(image.width, "width");
  checkSide(image.height, "height");
  if (image.channels < 1 || image.channels > 4) throw Error("image has " + std::to_string(image.channels) + " channels, not 1 to 4");
  if (image.data.size() != static_cast<size_t>(image.width * image.height * image.channels))
    throw Error("image data does not match its size");
}

}  // namespace

PixelImage toRgb(PixelImage image) {
  checkImage(image);
  if (image.channels == 3) return image;
  const bool isGray = image.channels <= 2;
  PixelImage out{image.width, image.height, 3, std::vector<uint8_t>(static_cast<size_t>(image.width * image.height * 3))};
  for (int64_t i = 0; i < image.width * image.height; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      out.data[static_cast<size_t>(i * 3 + c)] = image.data[static_cast<size_t>(i * image.channels + (isGray ? 0 : c))];
    }
  }
  return out;
}

PixelImage resized(const PixelImage& image, int64_t width, int64_t height, Resampling resampling) {
  checkImage(image);
  checkSide(width, "target width");
  checkSide(height, "target height");
  if (resampling == Resampling::Nearest) return nearest(image, width, height);
  const int64_t channels = image.channels;
  PixelImage wide;
  const PixelImage* current = &image;
  if (width != image.width) {
    const std::vector<Taps> taps = tapsFor(image.width, width, resampling);
    wide = {width, image.height, channels, std::vector<uint8_t>(static_cast<size_t>(width * image.height * channels))};
    for (int64_t y = 0; y < image.height; ++y) {
      for (int64_t c = 0; c < channels; ++c) {
        resampleLine(&image.data[static_cast<size_t>(y * image.width * channels + c)], channels, taps,
                     &wide.data[static_cast<size_t>(y * width * channels + c)], channels);
      }
    }
    current = &wide;
  }
  if (height == image.height) return *current;
  const std::vector<Taps> taps = tapsFor(image.height, height, resampling);
  PixelImage out{width, height, channels, std::vector<uint8_t>(static_cast<size_t>(width * height * channels))};
  for (int64_t i = 0; i < width * channels; ++i) {
    resampleLine(&current->data[static_cast<size_t>(i)], width * channels, taps, &out.data[static_cast<size_t>(i)], width * channels);
  }
  return out;
}

PixelImage centerCropped(const PixelImage& image, int64_t width, int64_t height) {
  checkImage(image);
  checkSide(width, "crop width");
  checkSide(height, "crop height");
  PixelImage out{width, height, image.channels, std::vector<uint8_t>(static_cast<size_t>(width * height * image.channels), 0)};
  // transformers pads to at least the crop first, with the odd pixel after; offsets may be negative then.
  const auto offset = [](int64_t have, int64_t want) { return have >= want ? (have - want) / 2 : -((want - have + 1) / 2); };
  const int64_t top = offset(image.height, height), left = offset(image.width, width);
  for (int64_t y = 0; y < height; ++y) {
    const int64_t fromY = y + top;
    if (fromY < 0 || fromY >= image.height) continue;
    const int64_t first = std::max<int64_t>(0, -left), last = std::min(width, image.width - left);
    if (first >= last) continue;
    std::copy_n(&image.data[static_cast<size_t>((fromY * image.width + first + left) * image.channels)], (last - first) * image.channels,
                &out.data[static_cast<size_t>((y * width + first) * image.channels)]);
  }
  return out;
}

}  // namespace headscope::core
