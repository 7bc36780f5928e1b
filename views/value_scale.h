#pragma once
// ValueScale: from a value to [0, 1] for a ramp: linear, square root or log between two limits. Limits come from the data unless
// they are locked. map_image.h colours whole matrices with one.
#include <string>

#include "core/session/session.h"
#include "core/tensor/matrix.h"

namespace headscope::views {

struct ValueScale {
  core::ColorScale kind = core::ColorScale::SquareRoot;
  double low = 0, high = 1;
  bool isLocked = false;
  bool isSigned = false;  // for diverging ramps: limits are of the size, 0.5 is zero

  /// Lower end of what is told apart: `low`, or four decades under `high` on a log scale from 0.
  double floor() const;
  /// What stands at the lower end of a colour bar.
  double lowest() const { return isSigned ? -high : floor(); }
  /// In [0, 1]; NaN stays NaN; 0 when the limits are equal.
  double unit(double value) const;
  bool operator==(const ValueScale&) const = default;
};

/// "linear", "sqrt", "log": the word under a colour bar.
std::string scaleName(core::ColorScale scale);

/// The limits to draw `values` with: the locked ones, or 0 to the largest finite value (in size, where they are signed), the columns
/// before `firstCol` left out.
ValueScale scaleFor(const core::ViewOptions& options, core::ConstMatrixView values, int64_t firstCol, bool isSigned = false);

}  // namespace headscope::views
