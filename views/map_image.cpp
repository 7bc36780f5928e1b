#include "views/map_image.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

namespace headscope::views {
namespace {

constexpr int64_t kTilePixels = 256;

uint64_t nextRevision() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

/// From values to steps of a ramp, for whole pictures: ValueScale::unit() in float, without a logarithm a cell.
class RampSteps {
 public:
  explicit RampSteps(const ValueScale& scale) : scale_(scale), kind_(scale.kind) {
    low_ = static_cast<float>(kind_ == core::ColorScale::Log ? scale.floor() : scale.low), high_ = static_cast<float>(scale.high);
    isFlat_ = !(high_ > low_) || (kind_ == core::ColorScale::Log && !(low_ > 0));
    if (kind_ != core::ColorScale::Log || isFlat_) return;
    for (int i = 0; i < ColorRamp::kSteps; ++i)
      begins_[static_cast<size_t>(i)] = static_cast<float>(low_ * std::pow(static_cast<double>(high_) / low_, (i - 0.5) / kLast));
    lowBits_ = static_cast<int32_t>(std::bit_cast<uint32_t>(low_));
    stepsPerBit_ = kLast / static_cast<float>(static_cast<int32_t>(std::bit_cast<uint32_t>(high_)) - lowBits_);
  }

  /// NaN gives step 0.
  void find(const float* values, int64_t count, int32_t* steps) const {
    if (scale_.isSigned) {
      for (int64_t i = 0; i < count; ++i)
        steps[i] = std::isnan(values[i])
                       ? 0
                       : static_cast<int32_t>(scale_.unit(static_cast<double>(values[i])) * static_cast<double>(kLast) + 0.5);
    } else if (isFlat_) {
      std::fill_n(steps, count, 0);
    } else if (kind_ == core::ColorScale::Log) {
      for (int64_t i = 0; i < count; ++i) steps[i] = logarithmic(values[i]);
    } else {
      const float scale = 1 / (high_ - low_);
      const bool isRoot = kind_ == core::ColorScale::SquareRoot;
      for (int64_t i = 0; i < count; ++i) {
        float t = (values[i] - low_) * scale;
        t = t > 0 ? t : 0;  // NaN too
        t = t < 1 ? t : 1;
        steps[i] = static_cast<int32_t>((isRoot ? std::sqrt(t) : t) * kLast + 0.5f);
      }
    }
  }

 private:
  static constexpr float kLast = ColorRamp::kSteps - 1;

  // The bits of a float grow nearly with its logarithm: the guess is at most a few steps off.
  int32_t logarithmic(float value) const {
    if (!(value > low_)) return 0;
    if (value >= high_) return ColorRamp::kSteps - 1;
    auto step = static_cast<int32_t>(static_cast<float>(static_cast<int32_t>(std::bit_cast<uint32_t>(value)) - lowBits_) * stepsPerBit_);
    while (step + 1 < ColorRamp::kSteps && value >= begins_[static_cast<size_t>(step + 1)]) ++step;
    while (step > 0 && value < begins_[static_cast<size_t>(step)]) --step;
    return step;
  }

  ValueScale scale_;
  core::ColorScale kind_;
  float low_ = 0, high_ = 1, stepsPerBit_ = 0;
  int32_t lowBits_ = 0;
  bool isFlat_ = false;
  std::array<float, ColorRamp::kSteps> begins_{};  // log: where each step begins
};

}  // namespace

std::shared_ptr<const Image> mapImage(core::ConstMatrixView values, const ValueScale& scale, const ColorRamp& ramp, bool* hasNan) {
  auto image = std::make_shared<Image>();
  image->width = static_cast<int>(values.cols), image->height = static_cast<int>(values.rows);
  image->rgba.resize(static_cast<size_t>(values.rows) * static_cast<size_t>(values.cols) * 4);
  image->revision = nextRevision();
  bool anyNan = false;
  const RampSteps steps(scale);
  std::vector<int32_t> found(static_cast<size_t>(values.cols));
  uint8_t* out = image->rgba.data();
  for (int64_t r = 0; r < values.rows; ++r, out += 4 * values.cols) {
    const float* row = values.row(r);
    steps.find(row, values.cols, found.data());
    int nans = 0;
    for (int64_t c = 0; c < values.cols; ++c) {
      const Color color = ramp.colors()[static_cast<size_t>(found[static_cast<size_t>(c)])];
      std::memcpy(out + 4 * c, &color, 4);
      nans += row[c] != row[c] ? 1 : 0;
    }
    for (int64_t c = 0; c < values.cols && nans > 0; ++c) {
      if (std::isnan(row[c])) std::memset(out + 4 * c, 0, 4), --nans, anyNan = true;
    }
  }
  if (hasNan != nullptr) *hasNan = anyNan;
  return image;
}

namespace {

// The largest of each block, in size where they are signed; NaN where any is, so that it shows.
core::Matrix pooled(core::ConstMatrixView values, int pooling, bool isSigned) {
  const int64_t step = int64_t{1} << pooling;
  core::Matrix out((values.rows + step - 1) / step, (values.cols + step - 1) / step);
  std::fill_n(out.data(), out.size(), isSigned ? 0.0f : -INFINITY);
  for (int64_t r = 0; r < values.rows; ++r) {
    float* to = out.row(r >> pooling);
    const float* row = values.row(r);
    for (int64_t c = 0; c < values.cols; ++c) {
      float& top = to[c >> pooling];
      if ((isSigned ? std::abs(row[c]) > std::abs(top) : row[c] > top) || std::isnan(row[c])) top = row[c];
    }
  }
  return out;
}

MapImageCache::Entry make(const MapImageCache::Key& key, core::ConstMatrixView values, const ColorRamp& ramp) {
  MapImageCache::Entry entry;
  entry.image = key.pooling > 0 ? mapImage(pooled(values, key.pooling, key.scale.isSigned), key.scale, ramp, &entry.hasNan)
                                : mapImage(values, key.scale, ramp, &entry.hasNan);
  return entry;
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
    entry_ = make(key, values, ramp);
    key_ = key;
  }
  return entry_;
}

std::vector<MapImageCache::Tile> MapImageCache::tiles(const Key& key, core::ConstMatrixView values, const ColorRamp& ramp,
                                                      const Cells& cells) const {
  const std::lock_guard lock(mutex_);
  if (!(tilesKey_ == key)) {
    tiles_.clear();
    tilesKey_ = key;
  }
  const int64_t side = kTilePixels << key.pooling;  // cells
  const auto first = [&](double cell) { return static_cast<int64_t>(std::max(0.0, cell)) / side; };
  const auto end = [&](double cell, int64_t all) {
    return (std::min(all, static_cast<int64_t>(std::ceil(std::max(0.0, cell)))) + side - 1) / side;
  };
  std::vector<Tile> visible;
  for (int64_t r = first(cells.firstRow); r < end(cells.endRow, values.rows); ++r) {
    for (int64_t c = first(cells.firstCol); c < end(cells.endCol, values.cols); ++c) {
      Entry& entry = tiles_[{r, c}];
      if (!entry.image) {
        const auto part = values.rowsFrom(r * side, std::min(side, values.rows - r * side));
        entry = make(key, part.colsFrom(c * side, std::min(side, values.cols - c * side)), ramp);
      }
      visible.push_back({entry, static_cast<double>(r * side), static_cast<double>(c * side)});
    }
  }
  return visible;
}

ValueScale MapImageCache::scale(const core::ViewOptions& options, core::ConstMatrixView values, int64_t firstCol, bool isSigned) const {
  if (options.limits) return scaleFor(options, values, firstCol, isSigned);
  const std::lock_guard lock(mutex_);
  if (!unlockedLimits_ || unlockedLimits_->first != firstCol) unlockedLimits_ = {firstCol, scaleFor(options, values, firstCol, isSigned)};
  ValueScale scale = unlockedLimits_->second;
  scale.kind = options.scale;
  return scale;
}

}  // namespace headscope::views
