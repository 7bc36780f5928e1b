#pragma once
// Where a warp's 32 lanes hold the matrices of one product on tensor cores, mma.m16n8k16 with bf16 factors and float32 sums (PTX ISA,
// "Matrix Fragments for mma.m16n8k16"): c [16, 8] += a [16, 16] b [16, 8]. And the product itself on the host, from all lanes' numbers, in
// place of the instruction.
#include <cstdint>

#include "gpu/arithmetic/decode.h"

namespace headscope::gpu {

struct FragmentPlace {
  int row, column;
};
/// Number i of 8 that a lane holds of a, two to a register.
HEADSCOPE_HD FragmentPlace leftPlace(int lane, int i) {
  return {(lane >> 2) + 8 * ((i >> 1) & 1), (lane & 3) * 2 + (i & 1) + 8 * (i >> 2)};
}
/// Number i of 4 of b.
HEADSCOPE_HD FragmentPlace rightPlace(int lane, int i) { return {(lane & 3) * 2 + (i & 1) + 8 * (i >> 1), lane >> 2}; }
/// Number i of 4 of c.
HEADSCOPE_HD FragmentPlace sumPlace(int lane, int i) { return {(lane >> 2) + 8 * (i >> 1), (lane & 3) * 2 + (i & 1)}; }

struct LeftFragment {
  uint32_t pair[4];  // two bf16 each, the first in the low half
};
struct RightFragment {
  uint32_t pair[2];
};

/// A lane's registers of both factors.
struct FactorFragments {
  LeftFragment left;
  RightFragment right;
};
/// What the instruction adds to a lane's number i: from all 32 lanes' registers, found by their places.
inline float fragmentSum(const FactorFragments* lanes, int lane, int i) {
  const FragmentPlace at = sumPlace(lane, i);
  float sum = 0.0f;
  for (int k = 0; k < 16; ++k) {
    const uint32_t a = lanes[(at.row & 7) * 4 + (k & 7) / 2].left.pair[(at.row >> 3) + 2 * (k >> 3)];
    const uint32_t b = lanes[at.column * 4 + (k & 7) / 2].right.pair[k >> 3];
    sum += decodeBf16(static_cast<uint16_t>(a >> (16 * (k & 1)))) * decodeBf16(static_cast<uint16_t>(b >> (16 * (k & 1))));
  }
  return sum;
}

}  // namespace headscope::gpu
