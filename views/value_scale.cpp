#include "views/value_scale.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace headscope::views {
namespace {

constexpr double kLogDecades = 1e-4;

uint64_t nextRevision() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

double ValueScale::floor() const { return kind == core::ColorScale::Log && low <= 0 ? high * kLogDecades : low; }

double ValueScale::unit(double value) const {
  if (std::isnan(value)) return value;
  if (isSigned) {
    ValueScale size = *this;
    size.isSigned = false;
    return 0.5 + (value < 0 ? -0.5 : 0.5) * size.unit(std::abs(value));
  }
  if (!(high > low)) return 0;
  if (kind == core::ColorScale::Log) {
    const double from = floor();
    if (value <= from || !(from > 0)) return 0;
    return std::clamp(std::log(value / from) / std::log(high / from), 0.0, 1.0);
  }
  const double t = std::clamp((value - low) / (high - low), 0.0, 1.0);
  return kind == core::ColorScale::SquareRoot ? std::sqrt(t) : t;
}

std::string scaleName(core::ColorScale scale) {
  switch (scale) {
    case core::ColorScale::Linear:
      return "linear";
    case core::ColorScale::SquareRoot:
      return "sqrt";
    case core::ColorScale::Log:
      return "log";
  }
  return "";
}

ValueScale scaleFor(const core::ViewOptions& options, core::ConstMatrixView values, int64_t firstCol) {
  ValueScale scale{options.scale, 0, 0, options.limits.has_value()};
  if (options.limits) {
    scale.low = options.limits->first, scale.high = options.limits->second;
    return scale;
  }
  float top = 0;
  for (int64_t r = 0; r < values.rows; ++r) {
    const float* row = values.row(r);
    for (int64_t c = firstCol; c < values.cols; ++c) {
      if (std::isfinite(row[c])) top = std::max(top, row[c]);
    }
  }
  scale.high = top > 0 ? top : 1.0;
  return scale;
}

std::shared_ptr<const Image> mapImage(core::ConstMatrixView values, const ValueScale& scale, const ColorRamp& ramp, bool* hasNan) {
  auto image = std::make_shared<Image>();
  image->width = static_cast<int>(values.cols), image->height = static_cast<int>(values.rows);
  image->rgba.resize(static_cast<size_t>(values.rows) * static_cast<size_t>(values.cols) * 4);
  image->revision = nextRevision();
  bool anyNan = false;
  uint8_t* out = image->rgba.data();
  for (int64_t r = 0; r < values.rows; ++r) {
    const float* row = values.row(r);
    for (int64_t c = 0; c < values.cols; ++c, out += 4) {
      const Color color = ramp.at(scale.unit(row[c]));
      anyNan = anyNan || std::isnan(row[c]);
      out[0] = color.r, out[1] = color.g, out[2] = color.b, out[3] = color.a;
    }
  }
  if (hasNan != nullptr) *hasNan = anyNan;
  return image;
}

namespace {

// The largest of each block; NaN where any is, so that it shows.
core::Matrix pooled(core::ConstMatrixView values, int pooling) {
  const int64_t step = int64_t{1} << pooling;
  core::Matrix out((values.rows + step - 1) / step, (values.cols + step - 1) / step);
  std::fill_n(out.data(), out.size(), -INFINITY);
  for (int64_t r = 0; r < values.rows; ++r) {
    float* to = out.row(r / step);
    for (int64_t c = 0; c < values.cols; ++c) {
      const float v = values(r, c);
      if (v > to[c / step] || std::isnan(v)) to[c / step] = v;
    }
  }
  return out;
}

}  // namespace

int poolingFor(double cells, double points) {
  int pooling = 0;
  while (points > 0 && cells / static_cast<double>(1 << pooling) > 2 * points && pooling < 20) ++pooling;
  return pooling;
}

MapImageCache::Entry MapImageCache::get(const Key& key, core::ConstMatrixView values, const ColorRamp& ramp) const {
  const std::lock_guard lock(mutex_);
  if (!entry_.image || !(key_ == key)) {
    bool hasNan = false;
    entry_.image =
        key.pooling > 0 ? mapImage(pooled(values, key.pooling), key.scale, ramp, &hasNan) : mapImage(values, key.scale, ramp, &hasNan);
    entry_.hasNan = hasNan;
    key_ = key;
  }
  return entry_;
}

}  // namespace headscope::views
