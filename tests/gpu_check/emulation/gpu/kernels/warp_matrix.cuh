#pragma once
// The emulation's gpu/kernels/warp_matrix.cuh: the same functions over all lanes' numbers. Copies arrive when they are waited for, and not
// before, so that a missing wait shows.
#include <cstdint>

#include "gpu/arithmetic/matrix_fragment.h"
#include "tests/gpu_check/emulation/cuda_runtime.h"

namespace headscope::gpu {

inline void multiplyAdd(const LeftFragment& a, const RightFragment& b, float (&c)[4]) {
  const FactorFragments mine{a, b};
  const auto* lanes = reinterpret_cast<const FactorFragments*>(emulation::ofWarp(&mine, sizeof mine));
  for (int i = 0; i < 4; ++i) c[i] += fragmentSum(lanes, static_cast<int>(threadIdx.x % 32), i);
}

inline void loadPairs(const uint16_t* row, uint32_t (&words)[4], bool isTurned) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulation::misaligned();
  const auto* rows = reinterpret_cast<const uint16_t* const*>(emulation::ofWarp(&row, sizeof row));
  const unsigned lane = threadIdx.x % 32;
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t pair[2];
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned pairAt = 2 * (lane % 4) + i, r = isTurned ? pairAt : lane / 4, c = isTurned ? lane / 4 : pairAt;
      pair[i] = rows[8 * m + r][c];
    }
    words[m] = pair[0] | static_cast<uint32_t>(pair[1]) << 16;
  }
}
inline void loadMatrices(const uint16_t* row, uint32_t (&words)[4]) { loadPairs(row, words, false); }
inline void loadTurned(const uint16_t* row, uint32_t (&words)[4]) { loadPairs(row, words, true); }

inline void copySixteen(uint16_t* shared, const uint16_t* from, bool isThere) {
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(from)) % 16 != 0) emulation::misaligned();
  emulation::copyLater(shared, isThere ? from : nullptr, 16);
}
inline void endCopyGroup() { emulation::endCopyGroup(); }
template <int kLeft>
void waitForCopies() {
  emulation::waitForCopies(kLeft);
}

inline uint32_t roundedPair(float low, float high) { return encodeBf16(low) | static_cast<uint32_t>(encodeBf16(high)) << 16; }

}  // namespace headscope::gpu
