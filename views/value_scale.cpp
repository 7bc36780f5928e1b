#include "views/value_scale.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace headscope::views {
namespace {

constexpr double kLogDecades = 1e-4;

/// 0 when nothing is above. A map on the screen has a million cells and this runs in a frame: written so that it vectorises.
float largestFinite(core::ConstMatrixView values, int64_t firstCol) {
  constexpr int64_t kLanes = 16;
  std::array<float, kLanes> top{};
  const auto larger = [](float v, float than) { return v > than && v <= std::numeric_limits<float>::max() ? v : than; };
  for (int64_t r = 0; r < values.rows; ++r) {
    const float* row = values.row(r);
    int64_t c = firstCol;
    for (; c + kLanes <= values.cols; c += kLanes) {
      for (int64_t i = 0; i < kLanes; ++i) top[static_cast<size_t>(i)] = larger(row[c + i], top[static_cast<size_t>(i)]);
    }
    for (; c < values.cols; ++c) top[0] = larger(row[c], top[0]);
  }
  return *std::max_element(top.begin(), top.end());
}

float largestSize(core::ConstMatrixView values, int64_t firstCol) {
  float top = 0;
  for (int64_t r = 0; r < values.rows; ++r) {
    const float* row = values.row(r);
    for (int64_t c = firstCol; c < values.cols; ++c) {
      const float size = std::abs(row[c]);
      top = size > top && size <= std::numeric_limits<float>::max() ? size : top;
    }
  }
  return top;
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

ValueScale scaleFor(const core::ViewOptions& options, core::ConstMatrixView values, int64_t firstCol, bool isSigned) {
  ValueScale scale{options.scale, 0, 0, options.limits.has_value(), isSigned};
  if (options.limits) {
    scale.low = isSigned ? 0 : options.limits->first, scale.high = options.limits->second;
    return scale;
  }
  scale.high = isSigned ? largestSize(values, firstCol) : largestFinite(values, firstCol);
  if (!(scale.high > 0)) scale.high = 1.0;
  return scale;
}

}  // namespace headscope::views
