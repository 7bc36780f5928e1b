#include "core/image/image_processor.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"

namespace headscope::core {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kMostResized = int64_t{1} << 24;  // pixels, where cropping follows

std::string sizeText(int64_t width, int64_t height) { return std::to_string(width) + " x " + std::to_string(height); }

/// One config file's fields, with errors that name file and field.
class Fields {
 public:
  Fields(const json& object, const std::string& where) : object_(object), where_(where) {}

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_boolean()) fail(key, "is not true or false");
    return object_[key].get<bool>();
  }
  double number(const char* key, double otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number()) fail(key, "is not a number");
    return object_[key].get<double>();
  }
  int64_t side(const char* key) const {
    const double value = number(key, 0);
    if (!(value >= 1 && value <= static_cast<double>(kMaxImageSide)) || value != std::floor(value)) fail(key, "is not a number of pixels");
    return static_cast<int64_t>(value);
  }
  std::array<double, 3> triple(const char* key, std::array<double, 3> otherwise) const {
    if (!has(key)) return otherwise;
    const json& list = object_[key];
    if (!list.is_array() || list.size() != 3) fail(key, "is not a list of 3 numbers");
    std::array<double, 3> out{};
    for (size_t i = 0; i < 3; ++i) {
      if (!list[i].is_number()) fail(key, "is not a list of 3 numbers");
      out[i] = list[i].get<double>();
    }
    return out;
  }
  Fields inner(const char* key) const { return {object_[key], where_ + ", " + key}; }
  bool isObject(const char* key) const { return has(key) && object_[key].is_object(); }
  [[noreturn]] void fail(const std::string& key, const std::string& what) const { throw Error(key + " " + what, where_); }

 private:
  const json& object_;
  std::string where_;
};

}  // namespace

ImageProcessor ImageProcessor::open(const std::filesystem::path& folder, const ImageSpec& spec) {
  const std::filesystem::path file = folder / "preprocessor_config.json";
  if (std::filesystem::exists(file)) return parse(readTextFile(file, kMaxConfigBytes), file.string(), spec);
  ImageProcessor defaults;
  defaults.spec_ = spec;
  defaults.resizeHeight_ = spec.height, defaults.resizeWidth_ = spec.width;
  defaults.notes_.push_back("the folder has no preprocessor_config.json: images are scaled to " + std::to_string(spec.width) + " x " +
                            std::to_string(spec.height) + " and normalised with mean 0.5 and deviation 0.5");
  return defaults;
}

ImageProcessor ImageProcessor::parse(std::string_view text, const std::string& where, const ImageSpec& spec) {
  // Depth is bounded by the callback: anything below three levels is not part of this file.
  const auto depthGuard = [&](int depth, json::parse_event_t, json&) {
    if (depth > 16) throw Error("JSON is nested too deeply", where);
    return true;
  };
  json object;
  try {
    object = json::parse(text, depthGuard);
  } catch (const json::exception& e) {
    throw Error(std::string("not valid JSON: ") + e.what(), where);
  }
  if (!object.is_object()) throw Error("not a JSON object", where);
  const Fields fields(object, where);
  for (const char* unsupported : {"do_pad", "do_thumbnail", "do_align_long_axis", "do_flip_channel_order", "do_reduce_labels"}) {
    if (fields.flag(unsupported, false)) fields.fail(unsupported, "is not supported");
  }

  ImageProcessor p;
  p.spec_ = spec;
  p.doesResize_ = fields.flag("do_resize", true);
  p.doesCrop_ = fields.flag("do_center_crop", false);
  p.doesRescale_ = fields.flag("do_rescale", true);
  p.doesNormalise_ = fields.flag("do_normalize", true);
  p.rescale_ = fields.number("rescale_factor", p.rescale_);
  p.mean_ = fields.triple("image_mean", p.mean_);
  p.deviation_ = fields.triple("image_std", p.deviation_);
  for (const double d : p.deviation_) {
    if (!(d > 0)) fields.fail("image_std", "holds a value that is not positive");
  }
  const double code = fields.number("resample", 2);
  if (!(code >= 0 && code <= 5) || code != std::floor(code)) fields.fail("resample", "is not one of Pillow's filters, 0 to 5");
  p.resampling_ = static_cast<Resampling>(static_cast<int>(code));

  p.resizeHeight_ = spec.height, p.resizeWidth_ = spec.width;
  if (fields.isObject("size")) {
    const Fields size = fields.inner("size");
    if (size.has("shortest_edge")) {
      p.shortestEdge_ = size.side("shortest_edge");
    } else {
      p.resizeHeight_ = size.side("height"), p.resizeWidth_ = size.side("width");
    }
  } else if (fields.has("size")) {
    p.resizeHeight_ = p.resizeWidth_ = fields.side("size");
  }
  p.cropHeight_ = spec.height, p.cropWidth_ = spec.width;
  if (fields.isObject("crop_size")) {
    const Fields size = fields.inner("crop_size");
    p.cropHeight_ = size.side("height"), p.cropWidth_ = size.side("width");
  } else if (fields.has("crop_size")) {
    p.cropHeight_ = p.cropWidth_ = fields.side("crop_size");
  }
  return p;
}

Matrix ImageProcessor::pixels(const PixelImage& source) const {
  PixelImage image = toRgb(source);
  int64_t width = image.width, height = image.height;
  if (doesResize_) {
    height = resizeHeight_, width = resizeWidth_;
    if (shortestEdge_ > 0) {  // the shorter side becomes shortestEdge, the longer one keeps the ratio, rounded down
      const int64_t shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
      const int64_t scaled = shortestEdge_ * longer / shorter;
      height = image.height <= image.width ? shortestEdge_ : scaled;
      width = image.height <= image.width ? scaled : shortestEdge_;
    }
  }
  // Before any work: a size that won't fit may be a very large one.
  const int64_t finalWidth = doesCrop_ ? cropWidth_ : width, finalHeight = doesCrop_ ? cropHeight_ : height;
  if (finalWidth != spec_.width || finalHeight != spec_.height) {
    throw Error("the image is " + sizeText(finalWidth, finalHeight) + " pixels after preprocessing, the model takes " +
                sizeText(spec_.width, spec_.height));
  }
  if (spec_.channels != 3) throw Error("the model takes " + std::to_string(spec_.channels) + " channels, images have 3");
  if (doesResize_ && (width > kMaxImageSide || height > kMaxImageSide || width * height > kMostResized)) {
    throw Error("preprocessing would scale the image to " + sizeText(width, height) + " pixels before it crops it", "",
                "give an image that is less elongated");
  }
  if (width != image.width || height != image.height) image = resized(image, width, height, resampling_);
  if (doesCrop_) image = centerCropped(image, cropWidth_, cropHeight_);
  Matrix out(3, image.width * image.height);
  for (int64_t c = 0; c < 3; ++c) {
    const auto channel = static_cast<size_t>(c);
    for (int64_t i = 0; i < out.cols(); ++i) {
      double value = image.data[static_cast<size_t>(i * 3 + c)];
      if (doesRescale_) value *= rescale_;
      if (doesNormalise_) value = (value - mean_[channel]) / deviation_[channel];
      out(c, i) = static_cast<float>(value);
    }
  }
  return out;
}

PixelImage ImageProcessor::picture(ConstMatrixView pixels) const {
  PixelImage image{spec_.width, spec_.height, 3, {}};
  image.data.resize(static_cast<size_t>(image.width * image.height * 3));
  for (int64_t c = 0; c < 3; ++c) {
    const auto channel = static_cast<size_t>(c);
    const float* in = pixels.row(std::min(c, pixels.rows - 1));  // one channel is shown as grey
    for (int64_t i = 0; i < image.width * image.height; ++i) {
      double value = in[i];
      if (doesNormalise_) value = value * deviation_[channel] + mean_[channel];
      if (doesRescale_) value /= rescale_;
      image.data[static_cast<size_t>(i * 3 + c)] = static_cast<uint8_t>(value > 0 ? std::min(std::round(value), 255.0) : 0);
    }
  }
  return image;
}

std::shared_ptr<Prompt> promptFromPixels(const ImageSpec& spec, Matrix pixels) {
  if (pixels.rows() != spec.channels || pixels.cols() != spec.height * spec.width) {
    throw Error("pixel values are [" + std::to_string(pixels.rows()) + ", " + std::to_string(pixels.cols()) + "], the model takes " +
                std::to_string(spec.channels) + " channels of " + std::to_string(spec.height) + " x " + std::to_string(spec.width));
  }
  auto prompt = std::make_shared<Prompt>();
  prompt->pixels = std::move(pixels);
  Token classToken;
  classToken.id = -1, classToken.piece = classToken.bytes = "[class]", classToken.isSpecial = true;
  prompt->tokens.push_back(classToken);
  const int64_t across = spec.width / spec.patch;
  for (int64_t i = 0; i < spec.patches(); ++i) {
    Token patch;
    patch.id = -1, patch.begin = patch.end = i;
    patch.piece = patch.bytes = std::to_string(i / across) + "," + std::to_string(i % across);
    prompt->tokens.push_back(patch);
  }
  return prompt;
}

}  // namespace headscope::core
