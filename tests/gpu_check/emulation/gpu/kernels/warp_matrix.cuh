#pragma once
// The emulation's gpu/kernels/warp_matrix.cuh: the same functions over all lanes' numbers. Copies arrive when they are waited for, and not
// before, so that a missing wait shows.
#include <cstdint>
#include <cstring>

#include "gpu/arithmetic/matrix_fragment.h"
#include "tests/gpu_check/emulation/cuda_runtime.h"

namespace headscope::gpu {

inline void multiplyAdd(const LeftFragment& a, const RightFragment& b, float (&c)[4]) {
  struct Both {
    LeftFragment left;
    RightFragment right;
  } mine{a, b};
  const unsigned char* all = emulation::ofWarp(&mine, sizeof mine);
  LeftFragment left[32];
  RightFragment right[32];
  for (int l = 0; l < 32; ++l) {
    std::memcpy(&mine, all + l * emulation::kLaneBytes, sizeof mine);
    left[l] = mine.left, right[l] = mine.right;
  }
  for (int i = 0; i < 4; ++i) c[i] += fragmentSum(left, right, static_cast<int>(threadIdx.x % 32), i);
}

inline void loadPairs(const uint16_t* row, uint32_t (&words)[4], bool isTurned) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulation::misaligned();
  const unsigned char* all = emulation::ofWarp(&row, sizeof row);
  const unsigned lane = threadIdx.x % 32;
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t pair[2];
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned pairAt = 2 * (lane % 4) + i, r = isTurned ? pairAt : lane / 4, c = isTurned ? lane / 4 : pairAt;
      const uint16_t* place = nullptr;
      std::memcpy(&place, all + (8 * m + r) * emulation::kLaneBytes, sizeof place);
      pair[i] = place[c];
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
