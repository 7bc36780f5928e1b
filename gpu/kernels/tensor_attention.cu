// Thin over gpu/arithmetic/tensor_softmax.h and warp_matrix.cuh: the order of copies, products and barriers.
#include "gpu/kernels/tensor_attention.h"

#include "gpu/arithmetic/tensor_softmax.h"
#include "gpu/device/check.h"
#include "gpu/kernels/launch.h"
#include "gpu/kernels/warp_matrix.cuh"

namespace headscope::gpu {
namespace {

constexpr int kTensorThreads = 128, kWarps = 4;
constexpr int kDepth = 16;              // of one product
constexpr int64_t kBlocksThatFill = 2;  // a multiprocessor: with fewer of 128 queries, blocks have 64

/// bf16 numbers between rows in shared memory: an odd number of 16 bytes, so that eight rows' pieces lie in different banks.
HEADSCOPE_HD int sharedPitch(int64_t width) { return static_cast<int>((width + kDepth - 1) / kDepth * kDepth) + 8; }

/// One block's places in shared memory: rows of queries, a tile of keys, a tile of values.
struct TensorMemory {
  uint16_t *queries, *keys, *values;
  int keyPitch;
};

/// Rows of one head into shared memory, each as many pieces of eight as the shared row has; what isn't there is 0. width: a multiple
/// of 8. rowOf: -1 for none.
template <typename RowOf>
__device__ __forceinline__ void copyRowsIn(const uint16_t* from, int64_t stride, int64_t width, int rows, uint16_t* to, int pitch,
                                           RowOf rowOf) {
  const int pieces = pitch / 8 - 1, there = static_cast<int>(width / 8);
  for (int e = static_cast<int>(threadIdx.x); e < rows * pieces; e += kTensorThreads) {
    const int r = e / pieces, piece = e - r * pieces;
    const int64_t row = rowOf(r);
    const bool isThere = row >= 0 && piece < there;
    copySixteen(to + r * pitch + piece * 8, isThere ? from + row * stride + piece * 8 : from, isThere);
  }
}

template <int kRowTiles, int kValueTiles>
struct LaneState {
  float score[kRowTiles][kKeyGroups][4];
  float sum[kRowTiles][kValueTiles][4];  // of weights times values
  SoftmaxRow rows[kRowTiles][2];
};

/// Raw products of the warp's rows with all keys of the tile.
template <int kRowTiles, int kValueTiles>
__device__ __forceinline__ void multiplyKeys(LaneState<kRowTiles, kValueTiles>& s, const TensorMemory& m, int firstRow) {
  const int lane = threadIdx.x & 31, matrix = lane >> 3, inside = lane & 7;
  HEADSCOPE_UNROLL
  for (int t = 0; t < kRowTiles; ++t) {
    HEADSCOPE_UNROLL
    for (int g = 0; g < kKeyGroups; ++g) {
      HEADSCOPE_UNROLL
      for (int i = 0; i < 4; ++i) s.score[t][g][i] = 0.0f;
    }
  }
  const uint16_t* queries = m.queries + (firstRow + inside + 8 * (matrix & 1)) * m.keyPitch + 8 * (matrix >> 1);
  const uint16_t* keys = m.keys + (inside + 8 * (matrix >> 1)) * m.keyPitch + 8 * (matrix & 1);
  for (int d = 0; d < m.keyPitch - 8; d += kDepth) {
    LeftFragment left[kRowTiles];
    HEADSCOPE_UNROLL
    for (int t = 0; t < kRowTiles; ++t) loadMatrices(queries + 16 * t * m.keyPitch + d, left[t].pair);
    HEADSCOPE_UNROLL
    for (int g = 0; g < kKeyGroups; g += 2) {
      uint32_t words[4];
      loadMatrices(keys + 8 * g * m.keyPitch + d, words);
      HEADSCOPE_UNROLL
      for (int t = 0; t < kRowTiles; ++t) {
        multiplyAdd(left[t], {{words[0], words[1]}}, s.score[t][g]);
        multiplyAdd(left[t], {{words[2], words[3]}}, s.score[t][g + 1]);
      }
    }
  }
}

/// Of the four lanes that share a row.
template <typename Combine>
__device__ __forceinline__ float joinedRow(float mine, Combine combine) {
  mine = combine(mine, __shfl_xor_sync(0xFFFFFFFFu, mine, 1));
  return combine(mine, __shfl_xor_sync(0xFFFFFFFFu, mine, 2));
}

template <int kRowTiles, int kValueTiles>
__device__ __forceinline__ void weighTile(LaneState<kRowTiles, kValueTiles>& s, const SpanKeys& keys, int64_t tile, int64_t firstQuery,
                                          float scale, float softcap) {
  const int lane = threadIdx.x & 31;
  HEADSCOPE_UNROLL
  for (int t = 0; t < kRowTiles; ++t) {
    HEADSCOPE_UNROLL
    for (int half = 0; half < 2; ++half) {
      SoftmaxRow& sums = s.rows[t][half];
      const TileRow row = tileRow(keys, tile, firstQuery + 16 * t + 8 * half + (lane >> 2));
      const float top = joinedRow(scoreRow(s.score[t], half, lane, row, scale, softcap), LargerOf{});
      const float factor = weighRow(s.score[t], half, lane, row, LargerOf{}(top, sums.max), sums);
      HEADSCOPE_UNROLL
      for (int v = 0; v < kValueTiles; ++v) s.sum[t][v][2 * half] *= factor, s.sum[t][v][2 * half + 1] *= factor;
    }
  }
}

/// Weights, rounded to bf16, times the tile's values: a lane's weights are its part of the left factor already.
template <int kRowTiles, int kValueTiles>
__device__ __forceinline__ void addValues(LaneState<kRowTiles, kValueTiles>& s, const TensorMemory& m) {
  constexpr int kPitch = kValueTiles * 8 + 8;
  const int lane = threadIdx.x & 31, matrix = lane >> 3;
  const uint16_t* values = m.values + ((lane & 7) + 8 * (matrix & 1)) * kPitch + 8 * (matrix >> 1);
  HEADSCOPE_UNROLL
  for (int g = 0; g < kKeyGroups; g += 2) {
    LeftFragment left[kRowTiles];
    HEADSCOPE_UNROLL
    for (int t = 0; t < kRowTiles; ++t) {
      const float(&low)[4] = s.score[t][g], (&high)[4] = s.score[t][g + 1];
      left[t] = {{roundedPair(low[0], low[1]), roundedPair(low[2], low[3]), roundedPair(high[0], high[1]), roundedPair(high[2], high[3])}};
    }
    HEADSCOPE_UNROLL
    for (int v = 0; v < kValueTiles; v += 2) {
      uint32_t words[4];
      loadTurned(values + 8 * g * kPitch + 8 * v, words);
      HEADSCOPE_UNROLL
      for (int t = 0; t < kRowTiles; ++t) {
        multiplyAdd(left[t], {{words[0], words[1]}}, s.sum[t][v]);
        multiplyAdd(left[t], {{words[2], words[3]}}, s.sum[t][v + 1]);
      }
    }
  }
}

template <int kRowTiles, int kValueTiles>
__device__ __forceinline__ void finishRows(LaneState<kRowTiles, kValueTiles>& s, const TensorLayer& layer, int64_t head,
                                           int64_t firstQuery) {
  const int lane = threadIdx.x & 31, valueWidth = static_cast<int>(layer.rule.valueWidth);
  HEADSCOPE_UNROLL
  for (int t = 0; t < kRowTiles; ++t) {
    HEADSCOPE_UNROLL
    for (int half = 0; half < 2; ++half) {
      SoftmaxRow sums = s.rows[t][half];
      sums.sum = joinedRow(sums.sum, SumOf{}), sums.scoreSum = joinedRow(sums.scoreSum, SumOf{});
      sums.distanceSum = joinedRow(sums.distanceSum, SumOf{});
      const int64_t query = firstQuery + 16 * t + 8 * half + (lane >> 2);
      if (query >= layer.count) continue;
      const float inverse = sums.sum == 0.0f ? 0.0f : 1.0f / sums.sum;
      float* to = layer.out + query * layer.outStride + head * valueWidth;
      HEADSCOPE_UNROLL
      for (int v = 0; v < kValueTiles; ++v) {
        const int column = 8 * v + (lane & 3) * 2;
        if (column < valueWidth) to[column] = s.sum[t][v][2 * half] * inverse;
        if (column + 1 < valueWidth) to[column + 1] = s.sum[t][v][2 * half + 1] * inverse;
      }
      if ((lane & 3) != 0) continue;
      const int64_t at = head * layer.count + query;
      layer.statistics.max[at] = sums.max, layer.statistics.logSumExp[at] = logSumExpOf(sums);
      layer.statistics.entropy[at] = entropyBitsOf(sums), layer.statistics.distance[at] = distanceOf(sums);
    }
  }
}

template <int kRowTiles, int kValueTiles>
__global__ void __launch_bounds__(kTensorThreads, kValueTiles > 16 ? 1
                                                  : kRowTiles == 1 ? 3
                                                                   : 2) tensorKernel(TensorLayer layer, int64_t rowBlocks) {
  extern __shared__ __align__(16) char tensorMemory[];
  constexpr int kRows = kWarps * 16 * kRowTiles, kValuePitch = kValueTiles * 8 + 8;
  const core::AttentionRule& rule = layer.rule;
  const int64_t keyPitch = tensorPitch(rule.keyWidth), valuePitch = tensorPitch(rule.valueWidth);
  TensorMemory m;
  m.keyPitch = sharedPitch(rule.keyWidth);
  m.queries = reinterpret_cast<uint16_t*>(tensorMemory), m.keys = m.queries + kRows * m.keyPitch;
  m.values = m.keys + kTileSide * m.keyPitch;
  for (int64_t item = blockIdx.x; item < layer.heads * rowBlocks; item += gridDim.x) {
    // The last rows see most keys under a causal mask: they start first
    const int64_t head = layer.firstHead + item % layer.heads, block = rowBlocks - 1 - item / layer.heads,
                  group = head * rule.kvHeads / rule.heads;
    const int64_t first = block * kRows, last = (first + kRows < layer.count ? first + kRows : layer.count) - 1;
    const SpanKeys keys = SpanKeys::of(first, last, layer.count, rule.isCausal, rule.window);
    const int64_t tiles = keys.tiles(), firstQuery = first + static_cast<int>(threadIdx.x >> 5) * 16 * kRowTiles;
    const auto copyKeys = [&](int64_t tile) {
      copyRowsIn(layer.key + group * keyPitch, rule.kvHeads * keyPitch, keyPitch, kTileSide, m.keys, m.keyPitch,
                 [&](int r) { return keys.key(tile, r); });
      endCopyGroup();
    };
    LaneState<kRowTiles, kValueTiles> s;
    HEADSCOPE_UNROLL
    for (int t = 0; t < kRowTiles; ++t) {
      s.rows[t][0] = s.rows[t][1] = SoftmaxRow{};
      HEADSCOPE_UNROLL
      for (int v = 0; v < kValueTiles; ++v) {
        HEADSCOPE_UNROLL
        for (int i = 0; i < 4; ++i) s.sum[t][v][i] = 0.0f;
      }
    }
    copyRowsIn(layer.query + head * keyPitch, rule.heads * keyPitch, keyPitch, kRows, m.queries, m.keyPitch,
               [&](int r) { return first + r <= last ? first + r : -1; });
    copyKeys(0);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      waitForCopies<0>();
      __syncthreads();  // the keys are here, and nobody reads the values before
      copyRowsIn(layer.value + group * valuePitch, rule.kvHeads * valuePitch, valuePitch, kTileSide, m.values, kValuePitch,
                 [&](int r) { return keys.key(tile, r); });
      endCopyGroup();
      multiplyKeys(s, m, static_cast<int>(firstQuery - first));
      __syncthreads();  // nobody reads these keys any more
      if (tile + 1 < tiles) {
        copyKeys(tile + 1);
      } else {
        endCopyGroup();  // so that the values are always the group before the last
      }
      weighTile(s, keys, tile, firstQuery, static_cast<float>(rule.scale), static_cast<float>(rule.softcap));
      waitForCopies<1>();
      __syncthreads();  // the values are here
      addValues(s, m);
    }
    finishRows(s, layer, head, firstQuery);
  }
}

template <int kRowTiles, int kValueTiles>
void launchTensors(const TensorLayer& layer, cudaStream_t stream) {
  constexpr int64_t kRows = kWarps * 16 * kRowTiles;
  const auto kernel = tensorKernel<kRowTiles, kValueTiles>;
  const int64_t rowBlocks = (layer.count + kRows - 1) / kRows;
  const size_t bytes =
      sizeof(uint16_t) * static_cast<size_t>((kRows + kTileSide) * sharedPitch(layer.rule.keyWidth) + kTileSide * (kValueTiles * 8 + 8));
  if (bytes > size_t{48} << 10) {  // 99 KiB at most, at 256 wide keys and values: what every card from 8.0 on has
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), "asking for shared memory");
  }
  kernel<<<gridFor(layer.heads * rowBlocks, 1), kTensorThreads, bytes, stream>>>(layer, rowBlocks);
  checkLaunch("attention on tensor cores");
}

}  // namespace

void attendTensors(const TensorLayer& layer, cudaStream_t stream) {
  if (layer.heads * layer.count == 0) return;
  const int64_t width = layer.rule.valueWidth;
  int processors = 0;
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 0), "reading the device's properties");
  const bool isWide = layer.heads * ((layer.count + 127) / 128) >= kBlocksThatFill * processors && layer.rule.keyWidth <= 192;
  if (width > 128) return launchTensors<1, 32>(layer, stream);
  if (width > 64) return isWide ? launchTensors<2, 16>(layer, stream) : launchTensors<1, 16>(layer, stream);
  return isWide ? launchTensors<2, 8>(layer, stream) : launchTensors<1, 8>(layer, stream);
}

}  // namespace headscope::gpu
