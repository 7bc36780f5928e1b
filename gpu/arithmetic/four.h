#pragma once
// Four neighbouring numbers at once: one access of 16 bytes, or of 8 in bf16, on the card. Places are aligned to that.
#include <cstdint>
#include <cstring>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

HEADSCOPE_HD void loadFour(const float* from, float (&to)[4]) {
#if defined(__CUDA_ARCH__)
  const float4 four = *reinterpret_cast<const float4*>(from);
  to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
#else
  std::memcpy(to, from, sizeof to);
#endif
}

HEADSCOPE_HD void storeFour(const float (&from)[4], float* to) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
#else
  std::memcpy(to, from, sizeof from);
#endif
}

HEADSCOPE_HD void storeFour(const uint16_t (&from)[4], uint16_t* to) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<ushort4*>(to) = make_ushort4(from[0], from[1], from[2], from[3]);
#else
  std::memcpy(to, from, sizeof from);
#endif
}

}  // namespace headscope::gpu
