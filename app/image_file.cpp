#include "app/image_file.h"

#include <QBuffer>
#include <QImage>
#include <QImageReader>
#include <algorithm>
#include <iterator>
#include <optional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint/checkpoint.h"
#include "core/image/image_processor.h"
#include "core/session/folder_hash.h"

namespace headscope::app {
namespace {

constexpr int64_t kMaxPixels = int64_t{64} << 20;
constexpr int kMaxDecoded_mb = 600;  // kMaxPixels at 8 bytes, and the decoder's own
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

/// Formats that hold pixels: what Qt's plug-ins draw (SVG, PDF) is not a picture file.
bool isPixelFormat(const QByteArray& format) {
  static constexpr const char* kFormats[] = {"png", "jpeg", "jpg", "bmp", "gif", "webp", "tiff", "tif", "pbm", "pgm", "ppm"};
  return std::any_of(std::begin(kFormats), std::end(kFormats), [&](const char* known) { return format == known; });
}

uint8_t byteAt(const std::string& bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

/// What a PNG's header says; decoders refuse 0 x 0 with words that do not say so.
std::optional<QSize> sizeInPng(const std::string& bytes) {
  if (!bytes.starts_with("\x89PNG\r\n\x1a\n") || bytes.size() < 24 || bytes.compare(12, 4, "IHDR") != 0) return std::nullopt;
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | byteAt(bytes, at + i);
    return static_cast<int>(std::min<uint32_t>(value, INT32_MAX));
  };
  return QSize(number(16), number(20));
}

/// False where a JPEG ends before its end-of-image marker: decoders fill what is missing with grey and say nothing.
bool isJpegWhole(const std::string& bytes) {
  size_t at = 2;
  while (at + 1 < bytes.size()) {
    if (byteAt(bytes, at) != 0xFF) {
      ++at;  // entropy-coded data, or what stands between segments
      continue;
    }
    const uint8_t marker = byteAt(bytes, at + 1);
    if (marker == 0xD9) return true;
    if (marker == 0xFF) {
      ++at;
    } else if (marker == 0 || marker == 1 || (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;
    } else {  // a segment; a thumbnail inside has an end marker of its own
      if (at + 3 >= bytes.size()) return false;
      at += 2 + std::max<size_t>(2, static_cast<size_t>(byteAt(bytes, at + 2)) << 8 | byteAt(bytes, at + 3));
    }
  }
  return false;
}

void checkSize(QSize size, const std::string& where) {
  const int64_t width = size.width(), height = size.height();
  const std::string text = "the image is " + std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width < 1 || height < 1) throw core::Error(text + ": there is nothing in it", where);
  if (width > core::kMaxImageSide || height > core::kMaxImageSide || width * height > kMaxPixels) {
    throw core::Error(text + ", more than is taken", where,
                      "scale it down to at most " + std::to_string(core::kMaxImageSide) + " a side and 64 megapixels");
  }
}

/// pixel_values [channels, height, width], with or without a first axis of 1, as image processors save them.
core::Matrix readPixelValues(const std::filesystem::path& path, const core::ImageSpec& image) {
  const auto file = core::SafetensorsFile::open(path);
  const core::TensorInfo* info = file->find("pixel_values");
  if (info == nullptr) throw core::Error("no tensor pixel_values", path.string());
  std::vector<int64_t> shape = info->shape;
  if (shape.size() == 4 && shape[0] == 1) shape.erase(shape.begin());
  if (shape != std::vector<int64_t>{image.channels, image.height, image.width} || !core::isFloat(info->dtype)) {
    throw core::Error("pixel_values are " + info->shapeText() + "; the model takes [" + std::to_string(image.channels) + ", " +
                          std::to_string(image.height) + ", " + std::to_string(image.width) + "] floats",
                      path.string());
  }
  core::Matrix pixels(image.channels, image.height * image.width);
  core::decodeToFloat(info->dtype, info->data, pixels.size(), pixels.data());
  return pixels;
}

}  // namespace

core::PixelImage decodeImage(const std::string& bytes, const std::string& where) {
  if (const auto size = sizeInPng(bytes)) checkSize(*size, where);
  QByteArray view = QByteArray::fromRawData(bytes.data(), static_cast<qsizetype>(bytes.size()));
  QBuffer buffer(&view);
  buffer.open(QIODevice::ReadOnly);
  QImageReader::setAllocationLimit(kMaxDecoded_mb);
  QImageReader reader(&buffer);
  reader.setAutoTransform(false);  // as image processors: the pixels as stored
  if (!reader.canRead() || !isPixelFormat(reader.format()))
    throw core::Error("this is not an image that can be read", where, "give a PNG or JPEG file");
  if (const QSize size = reader.size(); size.isValid()) checkSize(size, where);
  if (bytes.starts_with("\xFF\xD8") && !isJpegWhole(bytes))
    throw core::Error("the JPEG ends before its end: the file is truncated", where, "get the whole file");
  const QImage image = reader.read();
  if (image.isNull()) {
    throw core::Error("the image can't be decoded (" + reader.errorString().toStdString() + "): the file is damaged or truncated", where,
                      "get the whole file");
  }
  checkSize(image.size(), where);
  const QImage rgba = image.convertToFormat(QImage::Format_RGBA8888);
  if (rgba.isNull()) throw core::Error("not enough memory to read the image", where);
  core::PixelImage out{rgba.width(), rgba.height(), 4, {}};
  out.data.reserve(static_cast<size_t>(out.width * out.height * 4));
  for (int y = 0; y < rgba.height(); ++y) {
    const uchar* line = rgba.constScanLine(y);
    out.data.insert(out.data.end(), line, line + static_cast<ptrdiff_t>(rgba.width()) * 4);
  }
  return core::toRgb(std::move(out));
}

std::shared_ptr<const core::Prompt> promptFromImageFile(const core::Model& model, const std::filesystem::path& path) {
  const core::ImageSpec& image = *model.spec().image;
  if (path.extension() == ".safetensors") return core::promptFromPixels(image, readPixelValues(path, image));
  const auto processor = core::ImageProcessor::open(model.folder(), image);
  auto prompt = core::promptFromPixels(image, processor.pixels(decodeImage(core::readTextFile(path, kMaxFileBytes), path.string())));
  prompt->notes = processor.notes();
  return prompt;
}

std::string imageFileHash(const std::filesystem::path& path) { return core::contentsHash(core::readTextFile(path, kMaxFileBytes)); }

}  // namespace headscope::app
