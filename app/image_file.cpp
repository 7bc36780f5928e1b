#include "app/image_file.h"

#include <QImage>
#include <QImageReader>
#include <QString>

#include "core/base/error.h"

namespace headscope::app {
namespace {

constexpr int64_t kMaxPixels = int64_t{64} << 20;

}  // namespace

core::PixelImage readImageFile(const std::filesystem::path& path) {
  const std::string where = path.string();
  QImageReader reader(QString::fromStdString(where));
  reader.setAutoTransform(false);  // as image processors: the pixels as stored
  const QSize size = reader.size();
  if (size.isValid()) {
    if (size.width() > core::kMaxImageSide || size.height() > core::kMaxImageSide || int64_t{size.width()} * size.height() > kMaxPixels) {
      throw core::Error("image is " + std::to_string(size.width()) + " x " + std::to_string(size.height()) + " pixels, more than is taken",
                        where, "scale it down to at most 64 megapixels");
    }
  }
  const QImage image = reader.read();
  if (image.isNull()) throw core::Error("can't read the image: " + reader.errorString().toStdString(), where);
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

}  // namespace headscope::app
