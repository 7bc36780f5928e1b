#pragma once
// ValueScale: from a value to [0, 1] for a ramp: linear, square root or log between two limits. MapImage: a matrix coloured
// through one. Limits come from the data unless they are locked.
#include <memory>
#include <mutex>
#include <string>

#include "core/session/session.h"
#include "core/tensor/matrix.h"
#include "views/color_ramp.h"
#include "views/figure/figure.h"

namespace headscope::views {

struct ValueScale {
  core::ColorScale kind = core::ColorScale::SquareRoot;
  double low = 0, high = 1;
  bool isLocked = false;
  bool isSigned = false;  // for diverging ramps: limits are of the size, 0.5 is zero

  /// Lower end of what is told apart: `low`, or four decades under `high` on a log scale from 0.
  double floor() const;
  /// In [0, 1]; NaN stays NaN; 0 when the limits are equal.
  double unit(double value) const;
  bool operator==(const ValueScale&) const = default;
};

/// "linear", "sqrt", "log": the word under a colour bar.
std::string scaleName(core::ColorScale scale);

/// The limits to draw `values` with: the locked ones, or 0 to the largest finite value, the columns before `firstCol` left out.
ValueScale scaleFor(const core::ViewOptions& options, core::ConstMatrixView values, int64_t firstCol);

/// One pixel a cell. NaN cells are transparent: put a hatch behind. `hasNan` may be null.
std::shared_ptr<const Image> mapImage(core::ConstMatrixView values, const ValueScale& scale, const ColorRamp& ramp, bool* hasNan = nullptr);

/// How far to pool so that `points` points show at most two cells each: a screen that draws fewer pixels than cells would drop
/// some, and with them thin stripes.
int poolingFor(double cells, double points);

/// Keeps the last picture made from the same values, so that a repaint costs nothing. Thread-safe.
class MapImageCache {
 public:
  struct Key {
    ValueScale scale;
    bool isDark = false;
    int pooling = 0;  // 2^pooling x 2^pooling cells become one pixel, the largest of them
    bool operator==(const Key&) const = default;
  };
  struct Entry {
    std::shared_ptr<const Image> image;
    bool hasNan = false;
  };
  Entry get(const Key& key, core::ConstMatrixView values, const ColorRamp& ramp) const;

 private:
  mutable std::mutex mutex_;
  mutable Key key_;
  mutable Entry entry_;
};

}  // namespace headscope::views
