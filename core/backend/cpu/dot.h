#pragma once
// A dot product in float32. For files compiled with -fopenmp-simd.
#include <cstdint>

namespace headscope::core::cpu {

/// a . b over `count` elements, summed in vector lanes.
inline float dot(const float* a, const float* b, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < count; ++c) sum += a[c] * b[c];
  return sum;
}

}  // namespace headscope::core::cpu
