// CudaBackend's attention: the tiled kernel in float32, the tensor-core kernel in bf16; blocks of rows with products by cuBLAS over the
// keys that any row of the block may see, weights and statistics in place, under TF32, for wider heads, and for maps, sums and counts.
#include <algorithm>
#include <optional>
#include <vector>

#include "gpu/arithmetic/map_cells.h"
#include "gpu/cleared_grid.h"
#include "gpu/cuda_products.h"
#include "gpu/kernels/tensor_attention.h"
#include "gpu/kernels/tile_attention.h"

namespace headscope::gpu {
namespace {

/// Bytes of scores held at once.
constexpr int64_t kScoreBytes = int64_t{512} << 20;
constexpr int64_t kBlockRows = 256;
constexpr int64_t kTileRows = 1024;
/// Of tensor cores: batched products through pointers read 16 bytes at a time and do not look whether they may.
constexpr int64_t kAlignedBytes = 16;
/// Operations queued before the host looks whether the job was cancelled: some hundredths of a second.
constexpr double kOperationsAhead = 4e11;

/// bf16 numbers from one head to the next.
int64_t bf16Pitch(int64_t width) {
  const int64_t most = kAlignedBytes / static_cast<int64_t>(sizeof(uint16_t));
  return (width + most - 1) / most * most;
}

/// Numbers from one row of scores to the next where heads follow one another.
int64_t floatPitch(int64_t keys) {
  const int64_t most = kAlignedBytes / static_cast<int64_t>(sizeof(float));
  return (keys + most - 1) / most * most;
}

/// Whether tensor cores can read matrices of float32 that begin at these places and have this row stride.
template <typename Pointers>
bool isAligned(const Pointers& places, int64_t stride) {
  const auto isPlaced = [](const float* p) { return reinterpret_cast<uintptr_t>(p) % kAlignedBytes == 0; };
  return stride * static_cast<int64_t>(sizeof(float)) % kAlignedBytes == 0 && std::all_of(places.begin(), places.end(), isPlaced);
}

}  // namespace

void CudaBackend::scores(const core::AttentionInput& input, int64_t firstHead, const ScoreBlock& block) {
  const core::AttentionRule& rule = input.rule;
  const int64_t width = rule.keyWidth, firstGroup = rule.kvHeadOf(firstHead),
                groups = rule.kvHeadOf(firstHead + block.heads - 1) - firstGroup + 1;
  const float* keys = deviceData(input.key) + block.firstKey * input.key.stride + firstGroup * width;
  const float* queries = deviceData(input.query) + block.firstRow * input.query.stride + firstHead * width;
  std::vector<float*> to;
  for (int64_t h = 0; h < block.heads; ++h) to.push_back(block.scores + h * block.rows * block.pitch);
  const DeviceArray<float*> out(std::span<float* const>(to), *pipe_);
  const float one = 1.0f, zero = 0.0f;
  if (precision_ == core::Precision::Bf16) {
    const int64_t pitch = bf16Pitch(width);
    const DeviceArray<uint16_t> k(block.keys * groups * pitch, stream()), q(block.rows * block.heads * pitch, stream());
    toBf16({const_cast<float*>(keys), block.keys, groups * width, input.key.stride}, groups, pitch, k.data(), stream());
    toBf16({const_cast<float*>(queries), block.rows, block.heads * width, input.query.stride}, block.heads, pitch, q.data(), stream());
    std::vector<const void*> a, b;
    for (int64_t h = 0; h < block.heads; ++h) {
      a.push_back(k.data() + (rule.kvHeadOf(firstHead + h) - firstGroup) * pitch);
      b.push_back(q.data() + h * pitch);
    }
    const DeviceArray<const void*> left(std::span<const void*const>(a), *pipe_), right(std::span<const void*const>(b), *pipe_);
    check(cublasGemmBatchedEx_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, block.keys, block.rows, pitch, &one, left.data(), CUDA_R_16BF,
                                 groups * pitch, right.data(), CUDA_R_16BF, block.heads * pitch, &zero,
                                 reinterpret_cast<void* const*>(out.data()), CUDA_R_32F, block.pitch, block.heads, CUBLAS_COMPUTE_32F,
                                 CUBLAS_GEMM_DEFAULT),
          "attention scores in bf16");
    return;
  }
  std::vector<const float*> a, b;
  for (int64_t h = 0; h < block.heads; ++h) {
    a.push_back(keys + (rule.kvHeadOf(firstHead + h) - firstGroup) * width);
    b.push_back(queries + h * width);
  }
  const DeviceArray<const float*> left(std::span<const float*const>(a), *pipe_), right(std::span<const float*const>(b), *pipe_);
  std::optional<FloatProducts> isFloat;
  const bool areAligned = isAligned(a, input.key.stride) && isAligned(b, input.query.stride) && isAligned(to, block.pitch);
  if (precision_ == core::Precision::Tf32 && !areAligned) isFloat.emplace(*this);
  check(cublasSgemmBatched_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, block.keys, block.rows, width, &one, left.data(), input.key.stride,
                              right.data(), input.query.stride, &zero, out.data(), block.pitch, block.heads),
        "attention scores");
}

void CudaBackend::weightedValues(const core::AttentionInput& input, const ScoreBlock& block, const core::Tensor& out) {
  const core::AttentionRule& rule = input.rule;
  const int64_t width = rule.valueWidth;
  const float* values = deviceData(input.value) + block.firstKey * input.value.stride;
  std::vector<float*> to;
  for (int64_t h = 0; h < rule.heads; ++h) to.push_back(deviceData(out) + block.firstRow * out.stride + h * width);
  const DeviceArray<float*> target(std::span<float* const>(to), *pipe_);
  const float one = 1.0f, zero = 0.0f;
  const bool isOutAligned = isAligned(to, out.stride);
  if (precision_ == core::Precision::Bf16 && isOutAligned) {
    const int64_t pitch = bf16Pitch(width), keys = bf16Pitch(block.keys);
    const DeviceArray<uint16_t> v(block.keys * rule.kvHeads * pitch, stream()), w(rule.heads * block.rows * keys, stream());
    toBf16({const_cast<float*>(values), block.keys, rule.kvHeads * width, input.value.stride}, rule.kvHeads, pitch, v.data(), stream());
    toBf16({block.scores, rule.heads * block.rows, block.keys, block.pitch}, 1, keys, w.data(), stream());
    std::vector<const void*> a, b;
    for (int64_t h = 0; h < rule.heads; ++h) {
      a.push_back(v.data() + rule.kvHeadOf(h) * pitch);
      b.push_back(w.data() + h * block.rows * keys);
    }
    const DeviceArray<const void*> left(std::span<const void*const>(a), *pipe_), right(std::span<const void*const>(b), *pipe_);
    check(
        cublasGemmBatchedEx_64(blas(), CUBLAS_OP_N, CUBLAS_OP_N, width, block.rows, block.keys, &one, left.data(), CUDA_R_16BF,
                               rule.kvHeads * pitch, right.data(), CUDA_R_16BF, keys, &zero, reinterpret_cast<void* const*>(target.data()),
                               CUDA_R_32F, out.stride, rule.heads, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
        "attention output in bf16");
    return;
  }
  std::vector<const float*> a, b;
  for (int64_t h = 0; h < rule.heads; ++h) {
    a.push_back(values + rule.kvHeadOf(h) * width);
    b.push_back(block.scores + h * block.rows * block.pitch);
  }
  const DeviceArray<const float*> left(std::span<const float*const>(a), *pipe_), right(std::span<const float*const>(b), *pipe_);
  std::optional<FloatProducts> isFloat;
  const bool areAligned = isAligned(a, input.value.stride) && isAligned(b, block.pitch) && isOutAligned;
  if (precision_ != core::Precision::Float32 && !areAligned) isFloat.emplace(*this);
  check(cublasSgemmBatched_64(blas(), CUBLAS_OP_N, CUBLAS_OP_N, width, block.rows, block.keys, &one, left.data(), input.value.stride,
                              right.data(), block.pitch, &zero, target.data(), out.stride, rule.heads),
        "attention output");
}

ScoreBlock CudaBackend::blockOf(const core::AttentionInput& input, int64_t heads, int64_t firstRow, int64_t rows, float* scores) {
  const core::AttentionRule& rule = input.rule;
  ScoreBlock block{};
  block.scores = scores;
  block.heads = heads, block.firstRow = firstRow, block.rows = rows;
  block.firstKey = rule.firstKey(firstRow);
  block.keys = rule.endKey(firstRow + rows - 1, input.count()) - block.firstKey;
  block.pitch = heads == 1 ? block.keys : floatPitch(block.keys);
  block.count = input.count();
  block.scale = static_cast<float>(rule.scale), block.softcap = static_cast<float>(rule.softcap);
  block.window = rule.window, block.isCausal = rule.isCausal;
  return block;
}

void CudaBackend::forEachBlock(const core::AttentionInput& input, int64_t heads, int64_t firstRow, int64_t rows, const core::Job& job,
                               const std::function<void(ScoreBlock&)>& work) {
  const core::AttentionRule& rule = input.rule;
  const int64_t count = input.count();
  const int64_t most = heads == 1 && rule.window == 0 ? kTileRows : kBlockRows;
  const int64_t widest = rule.window > 0 ? std::min(count, 2 * rule.window + most) : count;
  const int64_t step = std::clamp<int64_t>(kScoreBytes / std::max<int64_t>(1, heads * widest * 4), 1, most);
  const DeviceArray<float> buffer(heads * step * floatPitch(widest), stream());
  for (int64_t first = firstRow; first < firstRow + rows; first += step) {
    job.checkpoint();
    ScoreBlock block = blockOf(input, heads, first, std::min(step, firstRow + rows - first), buffer.data());
    work(block);
  }
}

CudaBackend::AttentionWay CudaBackend::wayOf(const core::AttentionRule& rule) const {
  const core::Precision precision = precision_;
  if (precision == core::Precision::Tf32 || rule.keyWidth > kWidestHead || rule.valueWidth > kWidestHead) return AttentionWay::Blocks;
  return precision == core::Precision::Bf16 ? AttentionWay::Tensors : AttentionWay::Tiles;
}

void CudaBackend::forHeads(const core::AttentionInput& input, const core::Job& job, const std::function<void(int64_t, int64_t)>& launch) {
  const core::AttentionRule& rule = input.rule;
  const int64_t count = input.count();
  const double seen = static_cast<double>(rule.window > 0 ? std::min(count, 2 * rule.window + kTileSide) : count);
  const double work = 2.0 * static_cast<double>(count) * seen * static_cast<double>(rule.keyWidth + rule.valueWidth);
  const auto step = static_cast<int64_t>(std::clamp(kOperationsAhead / std::max(1.0, work), 1.0, static_cast<double>(rule.heads)));
  for (int64_t first = 0; first < rule.heads; first += step) {
    if (first > 0) synchronise("attention");
    job.checkpoint();
    launch(first, std::min(step, rule.heads - first));
  }
}

void CudaBackend::attendTiled(const core::AttentionInput& input, const core::Tensor& out, const core::AttentionStatistics& rows,
                              const core::Job& job) {
  TileLayer layer{deviceData(input.query),
                  deviceData(input.key),
                  deviceData(input.value),
                  deviceData(out),
                  input.query.stride,
                  input.key.stride,
                  input.value.stride,
                  out.stride,
                  input.count(),
                  input.rule,
                  {deviceData(rows.max), deviceData(rows.logSumExp), deviceData(rows.entropy), deviceData(rows.distance)},
                  0,
                  0};
  forHeads(input, job, [&](int64_t first, int64_t heads) {
    layer.firstHead = first, layer.heads = heads;
    attendLayer(layer, stream());
  });
}

void CudaBackend::attendTensors(const core::AttentionInput& input, const core::Tensor& out, const core::AttentionStatistics& rows,
                                const core::Job& job) {
  const core::AttentionRule& rule = input.rule;
  const int64_t count = input.count(), keyPitch = tensorPitch(rule.keyWidth), valuePitch = tensorPitch(rule.valueWidth);
  const DeviceArray<uint16_t> query(count * rule.heads * keyPitch, stream()), key(count * rule.kvHeads * keyPitch, stream()),
      value(count * rule.kvHeads * valuePitch, stream());
  toBf16(matrix(input.query), rule.heads, keyPitch, query.data(), stream());
  toBf16(matrix(input.key), rule.kvHeads, keyPitch, key.data(), stream());
  toBf16(matrix(input.value), rule.kvHeads, valuePitch, value.data(), stream());
  TensorLayer layer{query.data(),
                    key.data(),
                    value.data(),
                    deviceData(out),
                    out.stride,
                    count,
                    rule,
                    {deviceData(rows.max), deviceData(rows.logSumExp), deviceData(rows.entropy), deviceData(rows.distance)},
                    0,
                    0};
  forHeads(input, job, [&](int64_t first, int64_t heads) {
    layer.firstHead = first, layer.heads = heads;
    gpu::attendTensors(layer, stream());
  });
}

core::AttentionStatistics CudaBackend::attention(const core::AttentionInput& input, const core::Tensor& out, core::Job& job) {
  const Lock lock = begin(job);
  const core::AttentionRule& rule = input.rule;
  const int64_t count = input.count();
  const core::AttentionStatistics rows{allocate(rule.heads, count), allocate(rule.heads, count), allocate(rule.heads, count),
                                       allocate(rule.heads, count)};
  if (count == 0) return rows;
  switch (wayOf(rule)) {
    case AttentionWay::Tiles:
      attendTiled(input, out, rows, job);
      break;
    case AttentionWay::Tensors:
      attendTensors(input, out, rows, job);
      break;
    case AttentionWay::Blocks:
      forEachBlock(input, rule.heads, 0, count, job, [&](ScoreBlock& block) {
        scores(input, 0, block);
        softmaxRows(block, deviceData(rows.max), deviceData(rows.logSumExp), deviceData(rows.entropy), deviceData(rows.distance), stream());
        weightedValues(input, block, out);
      });
      break;
  }
  synchronise("attention");  // bounds how far a pass runs ahead, so that a cancelled job stops within a layer
  return rows;
}

core::Matrix CudaBackend::mapTile(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                                  const core::TileRequest& request, core::Job& job) {
  const Lock lock = begin(job);
  const int64_t count = input.count(), side = int64_t{1} << request.level;
  const int64_t firstRow = request.firstRow * side, endRow = std::min(count, (request.firstRow + request.rows) * side);
  const int64_t firstKey = request.firstCol * side, endKey = std::min(count, (request.firstCol + request.cols) * side);
  const core::Tensor cells = allocate(request.rows, request.cols);
  if (cells.empty()) return core::Matrix(request.rows, request.cols);
  const CellGrid grid = clearedGrid(deviceData(cells), request, stream());
  const int64_t step = rowsAtOnce(kTileRows, endKey - firstKey, kScoreBytes / 4);
  const DeviceArray<float> buffer(std::min(step, endRow - firstRow) * (endKey - firstKey), stream());
  for (int64_t first = firstRow; first < endRow; first += step) {
    job.checkpoint();
    ScoreBlock block = blockOf(input, 1, first, std::min(step, endRow - first), buffer.data());
    const KeyRange seen = tileKeys(firstKey, endKey, block.firstKey, block.firstKey + block.keys, request.level);
    if (seen.begin == seen.end) continue;  // all masked
    block.firstKey = seen.begin, block.keys = block.pitch = seen.end - seen.begin;
    scores(input, head, block);
    weightsFromStatistics(block, deviceData(rows.logSumExp) + head * count, stream());
    poolWeights(block, grid, stream());
  }
  if (grid.isMean) finishMeans(grid, count, stream());
  return download(cells);
}

std::vector<float> CudaBackend::columnMass(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                                           core::Job& job) {
  const Lock lock = begin(job);
  const int64_t count = input.count();
  const core::Tensor mass = allocate(1, count);
  check(cudaMemsetAsync(deviceData(mass), 0, static_cast<size_t>(count) * sizeof(float), stream()), "clearing memory");
  forEachBlock(input, 1, 0, count, job, [&](ScoreBlock& block) {
    scores(input, head, block);
    weightsFromStatistics(block, deviceData(rows.logSumExp) + head * count, stream());
    addColumnMass(block, deviceData(mass), stream());
  });
  const core::Matrix host = download(mass);
  return {host.data(), host.data() + count};
}

core::Matrix CudaBackend::patternSums(const core::AttentionInput& input, const core::AttentionStatistics& rows,
                                      const core::RowPattern& pattern, core::Job& job) {
  const Lock lock = begin(job);
  const core::Tensor sums = allocate(input.rule.heads, pattern.rows());
  if (sums.empty()) return core::Matrix(sums.rows, sums.cols);
  const DeviceArray<int64_t> starts(std::span<const int64_t>(pattern.starts), *pipe_);
  const DeviceArray<int32_t> cols(std::span<const int32_t>(pattern.cols), *pipe_);
  gpu::patternSums(matrix(input.query), matrix(input.key), input.rule, input.count(), deviceData(rows.logSumExp), pattern.firstRow,
                   pattern.rows(), starts.data(), cols.data(), precision_ == core::Precision::Bf16, deviceData(sums), stream());
  return download(sums);
}

core::KeysNeeded CudaBackend::keysNeeded(const core::AttentionInput& input, const core::AttentionStatistics& rows,
                                         const core::Matrix* keyWeights, std::span<const double> shares, core::Job& job) {
  const Lock lock = begin(job);
  const int64_t count = input.count(), heads = input.rule.heads, wanted = static_cast<int64_t>(shares.size());
  const DeviceArray<double> thresholds(shares, *pipe_);
  const core::Tensor plain = allocate(heads * wanted, count), weighted = allocate(keyWeights != nullptr ? heads * wanted : 0, count);
  const core::Tensor weights = keyWeights != nullptr ? upload(*keyWeights) : core::Tensor{};
  const KeyShares wantedOf{thresholds.data(), wanted, keyWeights != nullptr ? deviceData(weights) : nullptr, deviceData(plain),
                           keyWeights != nullptr ? deviceData(weighted) : nullptr};
  forEachBlock(input, heads, 0, count, job, [&](ScoreBlock& block) {
    scores(input, 0, block);
    gpu::keysNeeded(block, deviceData(rows.logSumExp), wantedOf, stream());
  });
  return {download(plain), keyWeights != nullptr ? download(weighted) : core::Matrix{}};
}

}  // namespace headscope::gpu
