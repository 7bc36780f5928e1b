#pragma once
// Instructions that C++ has no words for, each as one function: a warp's product on tensor cores and its loads of 8 x 8 matrices, and
// copies into shared memory that run beside the computation. For compute capability 8.0 and later. The emulation has its own file of this
// name.
#include <cstdint>

#include "gpu/arithmetic/matrix_fragment.h"

namespace headscope::gpu {

/// c += a b, of the whole warp.
__device__ __forceinline__ void multiplyAdd(const LeftFragment& a, const RightFragment& b, float (&c)[4]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a.pair[0]), "r"(a.pair[1]), "r"(a.pair[2]), "r"(a.pair[3]), "r"(b.pair[0]), "r"(b.pair[1]));
}

__device__ __forceinline__ uint32_t sharedPlace(const void* place) { return static_cast<uint32_t>(__cvta_generic_to_shared(place)); }

/// Four 8 x 8 matrices of bf16 in shared memory: lane i gives the place of row i % 8 of matrix i / 8, 16 bytes aligned; a lane gets of
/// matrix m, in word m, row lane / 4 and columns 2 (lane % 4) and the next.
__device__ __forceinline__ void loadMatrices(const uint16_t* row, uint32_t (&words)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(sharedPlace(row))
               : "memory");
}

/// The same of the transposed matrices: column lane / 4 and rows 2 (lane % 4) and the next.
__device__ __forceinline__ void loadTurned(const uint16_t* row, uint32_t (&words)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(sharedPlace(row))
               : "memory");
}

/// 16 bytes into shared memory, both places aligned to that; zeros in place of what isn't there. Done when waitForCopies says so.
__device__ __forceinline__ void copySixteen(uint16_t* shared, const uint16_t* from, bool isThere) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedPlace(shared)), "l"(__cvta_generic_to_global(from)),
               "r"(isThere ? 16 : 0)
               : "memory");
}
/// This thread's copies since the last call become one group.
__device__ __forceinline__ void endCopyGroup() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
/// Until this thread's groups but the last kLeft have arrived; others see them after a barrier.
template <int kLeft>
__device__ __forceinline__ void waitForCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kLeft) : "memory");
}

/// Two numbers rounded to bf16, the first in the low half.
__device__ __forceinline__ uint32_t roundedPair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

}  // namespace headscope::gpu
