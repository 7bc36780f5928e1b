// Thin over gpu/arithmetic/attention_tile.h: one block of threads for 64 queries of one head.
#include "gpu/kernels/tile_attention.h"

#include "gpu/device/check.h"
#include "gpu/kernels/launch.h"

namespace headscope::gpu {
namespace {

/// The block's threads as the algorithm sees them; a row's 16 threads are half a warp.
template <typename Registers>
class BlockTileTeam {
 public:
  template <typename F>
  __device__ __forceinline__ void each(F f) {
    f(static_cast<int>(threadIdx.x), registers_);
    __syncthreads();
  }
  template <typename Part, typename Combine>
  __device__ __forceinline__ void joinRows(Part part, Combine combine) {
    float(&numbers)[4] = part(registers_);
    HEADSCOPE_UNROLL
    for (int i = 0; i < 4; ++i) {
      HEADSCOPE_UNROLL
      for (int step = kTileLanes / 2; step > 0; step >>= 1) {
        numbers[i] = combine(numbers[i], __shfl_xor_sync(0xFFFFFFFFu, numbers[i], step));
      }
    }
  }

 private:
  Registers registers_;
};

template <int kGroups, typename Keys>
__device__ __forceinline__ void attendBlock(const TileHead& head, int64_t firstQuery, const Keys& keys, float* memory,
                                            const TileStatistics& statistics) {
  using Team = BlockTileTeam<TileRegisters<kGroups>>;
  Team team;
  TileAttention<kGroups, Team, Keys>(team, head, firstQuery, keys, memory).run(statistics);
}

template <int kGroups>
__global__ void __launch_bounds__(kTileThreads, kGroups <= 2 ? 2 : 1) layerKernel(TileLayer layer, int64_t rowBlocks) {
  extern __shared__ __align__(16) float tileMemory[];
  const core::AttentionRule& rule = layer.rule;
  for (int64_t item = blockIdx.x; item < layer.heads * rowBlocks; item += gridDim.x) {
    // The last rows see most keys under a causal mask: they start first
    const int64_t h = layer.firstHead + item % layer.heads, block = rowBlocks - 1 - item / layer.heads,
                  group = h * rule.kvHeads / rule.heads;
    const int64_t first = block * kTileSide, last = (first + kTileSide < layer.count ? first + kTileSide : layer.count) - 1;
    TileHead head;
    head.query = layer.query + h * rule.keyWidth, head.key = layer.key + group * rule.keyWidth;
    head.value = layer.value + group * rule.valueWidth, head.out = layer.out + h * rule.valueWidth;
    head.queryStride = layer.queryStride, head.keyStride = layer.keyStride;
    head.valueStride = layer.valueStride, head.outStride = layer.outStride;
    head.queries = layer.count, head.firstPosition = 0;
    head.keyWidth = static_cast<int>(rule.keyWidth), head.valueWidth = static_cast<int>(rule.valueWidth);
    head.scale = static_cast<float>(rule.scale), head.softcap = static_cast<float>(rule.softcap), head.slope = 0.0f;
    const int64_t at = h * layer.count;
    const TileStatistics rows{layer.statistics.max + at, layer.statistics.logSumExp + at, layer.statistics.entropy + at,
                              layer.statistics.distance + at};
    const SpanKeys keys = SpanKeys::of(first, last, layer.count, rule.isCausal, rule.window);
    attendBlock<kGroups>(head, first, keys, tileMemory, rows);
  }
}

template <int kGroups>
__global__ void __launch_bounds__(kTileThreads, kGroups <= 2 ? 2 : 1) maskedKernel(TileHead head, TileMask mask, float* logSumExp) {
  extern __shared__ __align__(16) float tileMemory[];
  for (int64_t block = blockIdx.x; block < mask.blocks; block += gridDim.x) {
    const int64_t first = mask.firstColumn[block];
    const ListedKeys keys{mask.columns + first, mask.masks + mask.firstTile[block] * kTileSide, mask.firstColumn[block + 1] - first};
    attendBlock<kGroups>(head, mask.firstRow + block * kTileSide, keys, tileMemory, {nullptr, logSumExp, nullptr, nullptr});
  }
}

/// More than 48 KiB of shared memory has to be asked for; 256 wide heads take 93.5 KiB, which every card from 8.0 on has.
template <typename Kernel>
size_t sharedFor(Kernel kernel, int64_t keyWidth) {
  const size_t bytes = static_cast<size_t>(tileFloats(static_cast<int>(keyWidth))) * sizeof(float);
  if (bytes > size_t{48} << 10) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), "asking for shared memory");
  }
  return bytes;
}

template <int kGroups>
void launchLayer(const TileLayer& layer, int64_t rowBlocks, cudaStream_t stream) {
  const size_t shared = sharedFor(layerKernel<kGroups>, layer.rule.keyWidth);
  layerKernel<kGroups><<<gridFor(layer.heads * rowBlocks, 1), kTileThreads, shared, stream>>>(layer, rowBlocks);
}

template <int kGroups>
void launchMasked(const TileHead& head, const TileMask& mask, float* logSumExp, cudaStream_t stream) {
  const size_t shared = sharedFor(maskedKernel<kGroups>, head.keyWidth);
  maskedKernel<kGroups><<<gridFor(mask.blocks, 1), kTileThreads, shared, stream>>>(head, mask, logSumExp);
}

}  // namespace

void attendLayer(const TileLayer& layer, cudaStream_t stream) {
  const int64_t rowBlocks = (layer.count + kTileSide - 1) / kTileSide;
  if (layer.heads * rowBlocks == 0) return;
  const int64_t groups = (layer.rule.valueWidth + kTileSide - 1) / kTileSide;
  if (groups <= 1) {
    launchLayer<1>(layer, rowBlocks, stream);
  } else if (groups == 2) {
    launchLayer<2>(layer, rowBlocks, stream);
  } else {
    launchLayer<4>(layer, rowBlocks, stream);
  }
  checkLaunch("tiled attention");
}

void attendMasked(const TileHead& head, const TileMask& mask, float* logSumExp, cudaStream_t stream) {
  if (mask.blocks == 0) return;
  const int groups = (head.valueWidth + kTileSide - 1) / kTileSide;
  if (groups <= 1) {
    launchMasked<1>(head, mask, logSumExp, stream);
  } else if (groups == 2) {
    launchMasked<2>(head, mask, logSumExp, stream);
  } else {
    launchMasked<4>(head, mask, logSumExp, stream);
  }
  checkLaunch("attention under a mask");
}

}  // namespace headscope::gpu
