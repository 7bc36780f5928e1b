// Rows of scores into weights under listed masks and rules: thin over gpu/arithmetic/row_choice.h, one block a row.
#include "gpu/kernels/choice.h"

#include "gpu/arithmetic/online_softmax.h"
#include "gpu/device/check.h"
#include "gpu/kernels/block_team.cuh"
#include "gpu/kernels/launch.h"

namespace headscope::gpu {
namespace {

__global__ void chooseKernel(ScoreBlock b, SeenRanges seen, RowRule rule, float slope, RowSums* sums) {
  BlockTeam team;
  const int n = static_cast<int>(b.keys);
  for (int64_t r = blockIdx.x; r < b.rows; r += gridDim.x) {
    float* x = b.scores + r * b.pitch;
    const core::KeyRange* ranges = seen.ranges + (seen.begin[r] - seen.base);
    const int count = static_cast<int>(seen.begin[r + 1] - seen.begin[r]);
    team.forEach(n, [&](int j) {
      const int64_t apart = b.firstRow + r - (b.firstKey + j);
      x[j] = softCapped(x[j] * b.scale, b.softcap) - slope * static_cast<float>(apart < 0 ? -apart : apart);
    });
    team.forEachGroup(count + 1, [&](auto group, int i) {  // what lies before, between and behind the ranges
      const int64_t from = i == 0 ? 0 : ranges[i - 1].end - b.firstKey, to = i == count ? n : ranges[i].first - b.firstKey;
      for (int64_t j = from + group.lane(); j < to; j += group.size()) x[j] = -INFINITY;
      return false;
    });
    const RowSums found = chooseRow(team, x, n, rule);
    if (threadIdx.x == 0) sums[r] = found;
    __syncthreads();
  }
}

}  // namespace

void chooseRows(const ScoreBlock& b, const SeenRanges& seen, const RowRule& rule, float slope, RowSums* sums, cudaStream_t stream) {
  if (b.rows == 0) return;
  chooseKernel<<<gridFor(b.rows, 1), kBlock, 0, stream>>>(b, seen, rule, slope, sums);
  checkLaunch("choosing keys");
}

}  // namespace headscope::gpu
