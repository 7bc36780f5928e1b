#pragma once
// Stored numbers to float32, one at a time: what kernels use to decode weights in place of a float32 copy.
#include <cstdint>
#include <cstring>

#include "gpu/arithmetic/host_device.h"

namespace headscope::gpu {

HEADSCOPE_HD float floatFromBits(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
#endif
}

HEADSCOPE_HD uint32_t bitsOf(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

/// The nearest bf16, ties to even; NaN stays NaN.
HEADSCOPE_HD uint16_t encodeBf16(float value) {
  const uint32_t bits = bitsOf(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

HEADSCOPE_HD float decodeBf16(uint16_t bits) { return floatFromBits(static_cast<uint32_t>(bits) << 16); }

/// IEEE half, subnormals included.
HEADSCOPE_HD float decodeF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1Fu, mantissa = bits & 0x3FFu;
  if (exponent == 31) return floatFromBits(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return floatFromBits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float tiny = static_cast<float>(mantissa) * floatFromBits(0x33800000u);  // 2^-24
  return sign != 0 ? -tiny : tiny;
}

/// Float8 E4M3, the "fn" kind: no infinities, 0x7F and 0xFF are NaN, bias 7.
HEADSCOPE_HD float decodeE4M3(uint8_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x80u) << 24;
  const uint32_t exponent = (bits >> 3) & 0xFu, mantissa = bits & 0x7u;
  if (exponent == 15 && mantissa == 7) return floatFromBits(sign | 0x7FC00000u);
  if (exponent != 0) return floatFromBits(sign | ((exponent + 120u) << 23) | (mantissa << 20));
  const float tiny = static_cast<float>(mantissa) * floatFromBits(0x3B000000u);  // 2^-9
  return sign != 0 ? -tiny : tiny;
}

}  // namespace headscope::gpu
