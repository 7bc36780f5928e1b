#pragma once
// A float32 number as the sum of three bf16 numbers, so that products with weights that are bf16 anyway run on tensor cores without
// rounding either factor: w x = w x3 + w x2 + w x1, each product of 8 by 8 bits exact in float32, only the sums are rounded. Each term
// takes the leading eight bits of what is left, cut off, so that nothing grows: x1 has the first eight bits of x, x2 the next, x3 the last.
//
// Exact for 0 and for |x| >= 2^-103 (8e-32) without needing a subnormal bf16, which a card may take as 0; below that the terms miss x by
// less than 2^-126, the least normal float32. Infinity and NaN stay in the first term with zeros behind it; times a weight that is itself
// infinite those zeros make NaN where float32 has infinity. (Cf. Henry, Tang & Heinecke 2019, who split both factors.)
#include "gpu/arithmetic/decode.h"

namespace headscope::gpu {

inline constexpr int kBf16Terms = 3;

struct Bf16Terms {
  uint16_t term[kBf16Terms];  // largest first
};

/// The first eight bits of a finite number.
HEADSCOPE_HD uint16_t leadingBf16(float value) { return static_cast<uint16_t>(bitsOf(value) >> 16); }

HEADSCOPE_HD Bf16Terms bf16Terms(float value) {
  if ((bitsOf(value) & 0x7F800000u) == 0x7F800000u) return {{encodeBf16(value), 0, 0}};
  const uint16_t first = leadingBf16(value);
  const float rest = value - decodeBf16(first);  // exact: bits that value has
  const uint16_t second = leadingBf16(rest);
  return {{first, second, leadingBf16(rest - decodeBf16(second))}};
}

/// True for a scale that moves a float8's exponent and no more: the product is a normal bf16 or 0 (float8 reaches from 2^-9 to 448).
HEADSCOPE_HD bool isExactScale(float scale) {
  const uint32_t bits = bitsOf(scale), exponent = (bits >> 23) & 0xFFu;
  return (bits & 0x007FFFFFu) == 0 && exponent >= 27 && exponent <= 227;  // 2^-100 to 2^100
}

}  // namespace headscope::gpu
