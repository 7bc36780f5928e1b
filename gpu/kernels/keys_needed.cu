// Keys needed: one warp a row, which makes the row's weights from its scores and searches them (gpu/arithmetic/keys_search.h).
#include "gpu/arithmetic/keys_search.h"
#include "gpu/arithmetic/online_softmax.h"
#include "gpu/device/check.h"
#include "gpu/kernels/block_team.cuh"
#include "gpu/kernels/kernels.h"
#include "gpu/kernels/launch.h"

namespace headscope::gpu {
namespace {

constexpr int kRowsABlock = 4;
/// Of rows in shared memory; longer rows are searched where their scores lie. Two blocks or more on a multiprocessor.
constexpr size_t kSharedRows = size_t{96} << 10;

/// Each lane reads again what it wrote itself.
__global__ void keysKernel(ScoreBlock b, const float* logSumExp, KeyShares shares, int64_t sharedKeys) {
  extern __shared__ __align__(16) float rowMemory[];
  const int warp = threadIdx.x >> 5;
  const WarpGroup group;
  for (int64_t index = int64_t{blockIdx.x} * kRowsABlock + warp; index < b.heads * b.rows; index += int64_t{gridDim.x} * kRowsABlock) {
    const int64_t head = index / b.rows, query = b.firstRow + index % b.rows;
    const KeySpan span = visibleKeys(query, b.count, b.isCausal, b.window);
    const int64_t n = span.end - span.begin;
    float* scores = b.scores + index * b.pitch + (span.begin - b.firstKey);
    float* weights = sharedKeys > 0 ? rowMemory + warp * sharedKeys : scores;
    const float sum = logSumExp[head * b.count + query];
    for (int64_t j = group.lane(); j < n; j += group.size()) weights[j] = expf(softCapped(scores[j] * b.scale, b.softcap) - sum);
    const int64_t at = head * shares.count * b.count + query;
    countToShares(group, weights, n, true, shares.shares, shares.count, b.count, shares.plain + at, b.count);
    if (shares.keyWeights == nullptr) continue;
    const float* factors = shares.keyWeights + head * b.count + span.begin;
    for (int64_t j = group.lane(); j < n; j += group.size()) weights[j] *= factors[j];
    countToShares(group, weights, n, false, shares.shares, shares.count, b.count, shares.weighted + at, b.count);
  }
}

}  // namespace

void keysNeeded(const ScoreBlock& b, const float* logSumExp, const KeyShares& shares, cudaStream_t stream) {
  if (b.heads * b.rows == 0) return;
  const size_t bytes = kRowsABlock * static_cast<size_t>(b.keys) * sizeof(float);
  const bool isShared = bytes <= kSharedRows;
  if (isShared && bytes > size_t{48} << 10) {
    check(cudaFuncSetAttribute(keysKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
          "asking for shared memory");
  }
  keysKernel<<<gridFor(b.heads * b.rows, kRowsABlock), 32 * kRowsABlock, isShared ? bytes : 0, stream>>>(b, logSumExp, shares,
                                                                                                         isShared ? b.keys : 0);
  checkLaunch("counting keys");
}

}  // namespace headscope::gpu
