#pragma once
// The turn of one pair of dimensions at one position.
#include <cmath>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

struct Turn {
  float cosine, sine;
};

/// The angle is the float32 product, as models were trained with (RopeSpec); its cosine and sine are those of that number.
HEADSCOPE_HD Turn turnAt(long long position, float frequency, double magnitude, bool isInverse) {
  const float product = static_cast<float>(position) * frequency;
  const double angle = product;
  const double size = isInverse ? 1.0 / magnitude : magnitude;
  const double sine = sin(angle) * size;
  return {static_cast<float>(cos(angle) * size), static_cast<float>(isInverse ? -sine : sine)};
}

}  // namespace headscope::gpu
