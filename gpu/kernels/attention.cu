// Attention from blocks of scores: cuBLAS makes q.k for a block of rows and the keys that any of them may see, these kernels turn
// it into weights and statistics in place. A block is rows x keys x heads; the whole N x N never exists.
#include "gpu/arithmetic/decode.h"
#include "gpu/arithmetic/map_cells.h"
#include "gpu/arithmetic/online_softmax.h"
#include "gpu/device/check.h"
#include "gpu/kernels/for_each.cuh"
#include "gpu/kernels/kernels.h"
#include "gpu/kernels/launch.h"
#include "gpu/kernels/reduce.cuh"

namespace headscope::gpu {
namespace {

__device__ float finished(const ScoreBlock& b, float product) { return softCapped(product * b.scale, b.softcap); }

__device__ SoftmaxRow blockMerged(SoftmaxRow mine) {
  const float top = blockReduce(mine.max, -INFINITY, Max{});
  if (mine.sum > 0.0f) raiseMax(mine, top);
  SoftmaxRow row;
  row.max = top;
  row.sum = blockReduce(mine.sum, 0.0f, Sum{});
  row.scoreSum = blockReduce(mine.scoreSum, 0.0f, Sum{});
  row.distanceSum = blockReduce(mine.distanceSum, 0.0f, Sum{});
  return row;
}

__global__ void softmaxKernel(ScoreBlock b, float* max, float* logSumExp, float* entropy, float* distance) {
  for (int64_t index = blockIdx.x; index < b.heads * b.rows; index += gridDim.x) {
    const int64_t head = index / b.rows, r = index % b.rows, query = b.firstRow + r;
    float* scores = b.scores + index * b.pitch;
    const KeySpan span = visibleKeys(query, b.count, b.isCausal, b.window);
    const int64_t begin = span.begin - b.firstKey, end = span.end - b.firstKey;
    SoftmaxRow mine;
    for (int64_t j = begin + threadIdx.x; j < end; j += blockDim.x) {
      const int64_t key = b.firstKey + j;
      const float score = finished(b, scores[j]);
      scores[j] = score;
      addScore(mine, score, static_cast<float>(query > key ? query - key : key - query));
    }
    const SoftmaxRow row = blockMerged(mine);
    const float total = logSumExpOf(row);
    for (int64_t j = threadIdx.x; j < b.keys; j += blockDim.x) scores[j] = j >= begin && j < end ? expf(scores[j] - total) : 0.0f;
    if (threadIdx.x == 0) {
      const int64_t at = head * b.count + query;
      max[at] = row.max, logSumExp[at] = total, entropy[at] = entropyBitsOf(row), distance[at] = distanceOf(row);
    }
    __syncthreads();
  }
}

__global__ void columnMassKernel(ScoreBlock b, float* mass) {
  for (int64_t j = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; j < b.keys; j += int64_t{gridDim.x} * blockDim.x) {
    float sum = 0.0f;
    for (int64_t r = 0; r < b.rows; ++r) sum += b.scores[r * b.pitch + j];
    mass[b.firstKey + j] += sum;
  }
}

/// One block (isWide) or one warp a cell. A cell belongs to one group of one launch, so that nobody else writes it meanwhile.
template <bool isWide>
__global__ void poolKernel(ScoreBlock b, CellGrid grid) {
  const int64_t side = int64_t{1} << grid.level;
  const int64_t rows = (b.rows + side - 1) / side, cols = (b.keys + side - 1) / side;  // cells that the block touches
  const int64_t firstRow = (b.firstRow >> grid.level) - grid.firstRow, firstCol = (b.firstKey >> grid.level) - grid.firstCol;
  const int lane = isWide ? threadIdx.x : threadIdx.x & 31, lanes = isWide ? blockDim.x : 32;
  const int64_t groups = isWide ? gridDim.x : int64_t{gridDim.x} * (blockDim.x >> 5);
  const int64_t group = isWide ? blockIdx.x : blockIdx.x * int64_t{blockDim.x >> 5} + (threadIdx.x >> 5);
  for (int64_t cell = group; cell < rows * cols; cell += groups) {
    const int64_t top = (cell / cols) * side, left = (cell % cols) * side;
    const auto height = static_cast<unsigned>(min(side, b.rows - top)), width = static_cast<unsigned>(min(side, b.keys - left));
    float pooled = 0.0f;
    for (unsigned e = lane; e < height * width; e += lanes) {  // a block of scores has less than 2^31
      const float weight = b.scores[(top + e / width) * b.pitch + left + e % width];
      pooled = grid.isMean ? pooled + weight : Max{}(weight, pooled);
    }
    if (isWide) {
      pooled = grid.isMean ? blockReduce(pooled, 0.0f, Sum{}) : blockReduce(pooled, 0.0f, Max{});
    } else {
      pooled = grid.isMean ? warpReduce(pooled, Sum{}) : warpReduce(pooled, Max{});
    }
    if (lane == 0) {
      float& to = grid.cells[(firstRow + cell / cols) * grid.cols + firstCol + cell % cols];
      to = grid.isMean ? to + pooled : Max{}(pooled, to);
    }
  }
}

__global__ void meansKernel(CellGrid grid, int64_t count) {
  const int64_t total = grid.rows * grid.cols;
  for (int64_t e = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; e < total; e += int64_t{gridDim.x} * blockDim.x) {
    grid.cells[e] /= static_cast<float>(cellExtent(grid.firstRow + e / grid.cols, grid.level, count)) *
                     static_cast<float>(cellExtent(grid.firstCol + e % grid.cols, grid.level, count));
  }
}

/// One warp a row and head.
__global__ void patternKernel(DeviceMatrix query, DeviceMatrix key, core::AttentionRule rule, int64_t count, const float* logSumExp,
                              int64_t firstRow, int64_t rows, const int64_t* starts, const int32_t* cols, bool isRounded, float* out) {
  const int lane = threadIdx.x & 31;
  const int64_t warps = int64_t{gridDim.x} * (blockDim.x >> 5);
  for (int64_t index = blockIdx.x * int64_t{blockDim.x >> 5} + (threadIdx.x >> 5); index < rule.heads * rows; index += warps) {
    const int64_t head = index / rows, r = index % rows, i = firstRow + r;
    const float* q = query.data + i * query.stride + head * rule.keyWidth;
    float sum = 0.0f;
    for (int64_t s = starts[r]; s < starts[r + 1]; ++s) {
      const int64_t j = cols[s];
      if (!isVisible(i, j, rule.isCausal, rule.window)) continue;
      const float* k = key.data + j * key.stride + (head * rule.kvHeads / rule.heads) * rule.keyWidth;
      float product = 0.0f;
      for (int64_t c = lane; c < rule.keyWidth; c += 32)
        product += isRounded ? decodeBf16(encodeBf16(q[c])) * decodeBf16(encodeBf16(k[c])) : q[c] * k[c];
      product = warpReduce(product, Sum{});
      sum += expf(softCapped(product * static_cast<float>(rule.scale), static_cast<float>(rule.softcap)) - logSumExp[head * count + i]);
    }
    if (lane == 0) out[index] = sum;
  }
}

}  // namespace

void softmaxRows(const ScoreBlock& b, float* max, float* logSumExp, float* entropy, float* distance, cudaStream_t stream) {
  softmaxKernel<<<gridFor(b.heads * b.rows, 1), kBlock, 0, stream>>>(b, max, logSumExp, entropy, distance);
  checkLaunch("softmax");
}

void weightsFromStatistics(const ScoreBlock& b, const float* logSumExp, cudaStream_t stream) {
  forEach(b.heads * b.rows, b.keys, stream, "attention weights", [=] __device__(int64_t index, int64_t j) {
    const int64_t head = static_cast<unsigned>(index) / static_cast<unsigned>(b.rows), query = b.firstRow + index - head * b.rows;
    float& score = b.scores[index * b.pitch + j];
    score = isVisible(query, b.firstKey + j, b.isCausal, b.window) ? expf(finished(b, score) - logSumExp[head * b.count + query]) : 0.0f;
  });
}

void addColumnMass(const ScoreBlock& b, float* mass, cudaStream_t stream) {
  columnMassKernel<<<gridFor(b.keys), kBlock, 0, stream>>>(b, mass);
  checkLaunch("column mass");
}

void poolWeights(const ScoreBlock& b, const CellGrid& grid, cudaStream_t stream) {
  const int64_t side = int64_t{1} << grid.level, cells = ((b.rows + side - 1) / side) * ((b.keys + side - 1) / side);
  if (side >= 64) {
    poolKernel<true><<<gridFor(cells, 1), kBlock, 0, stream>>>(b, grid);
  } else {
    poolKernel<false><<<gridFor(cells, kBlock / 32), kBlock, 0, stream>>>(b, grid);
  }
  checkLaunch("pooling a tile");
}

void finishMeans(const CellGrid& grid, int64_t count, cudaStream_t stream) {
  meansKernel<<<gridFor(grid.rows * grid.cols), kBlock, 0, stream>>>(grid, count);
  checkLaunch("means of a tile");
}

void patternSums(const DeviceMatrix& query, const DeviceMatrix& key, const core::AttentionRule& rule, int64_t count, const float* logSumExp,
                 int64_t firstRow, int64_t rows, const int64_t* starts, const int32_t* cols, bool isRounded, float* out,
                 cudaStream_t stream) {
  if (rule.heads * rows == 0) return;
  patternKernel<<<gridFor(rule.heads * rows, kBlock / 32), kBlock, 0, stream>>>(query, key, rule, count, logSumExp, firstRow, rows, starts,
                                                                                cols, isRounded, out);
  checkLaunch("pattern sums");
}

}  // namespace headscope::gpu
