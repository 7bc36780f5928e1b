// CudaBackend's attention: blocks of rows, products by cuBLAS over the keys that any row of the block may see, weights and
// statistics in place.
#include <algorithm>
#include <vector>

#include "gpu/cuda_backend.h"

namespace headscope::gpu {
namespace {

/// Bytes of scores held at once.
constexpr int64_t kScoreBytes = int64_t{512} << 20;
constexpr int64_t kBlockRows = 256;

struct Pointers {
  std::vector<const float*> left, right;
  std::vector<float*> out;
};

}  // namespace

void CudaBackend::scores(const core::AttentionInput& input, int64_t firstHead, const ScoreBlock& block) {
  const core::AttentionRule& rule = input.rule;
  Pointers p;
  for (int64_t h = 0; h < block.heads; ++h) {
    const int64_t head = firstHead + h;
    p.left.push_back(deviceData(input.key) + block.firstKey * input.key.stride + rule.kvHeadOf(head) * rule.keyWidth);
    p.right.push_back(deviceData(input.query) + block.firstRow * input.query.stride + head * rule.keyWidth);
    p.out.push_back(block.scores + h * block.rows * block.keys);
  }
  const DeviceArray<const float*> left(std::span<const float*const>(p.left), stream_),
      right(std::span<const float*const>(p.right), stream_);
  const DeviceArray<float*> out(std::span<float* const>(p.out), stream_);
  const float one = 1.0f, zero = 0.0f;
  check(cublasSgemmBatched_64(blas_, CUBLAS_OP_T, CUBLAS_OP_N, block.keys, block.rows, rule.keyWidth, &one, left.data(), input.key.stride,
                              right.data(), input.query.stride, &zero, out.data(), block.keys, block.heads),
        "attention scores");
}

void CudaBackend::forEachBlock(const core::AttentionInput& input, int64_t heads, int64_t firstRow, int64_t rows, const core::Job& job,
                               const std::function<void(ScoreBlock&)>& work) {
  const core::AttentionRule& rule = input.rule;
  const int64_t count = input.count();
  const int64_t widest = rule.window > 0 ? std::min(count, 2 * rule.window + kBlockRows) : count;
  const int64_t step = std::clamp<int64_t>(kScoreBytes / std::max<int64_t>(1, heads * widest * 4), 1, kBlockRows);
  const DeviceArray<float> buffer(heads * step * widest, stream_);
  for (int64_t first = firstRow; first < firstRow + rows; first += step) {
    job.checkpoint();
    const int64_t last = std::min(first + step, firstRow + rows) - 1;
    ScoreBlock block{};
    block.scores = buffer.data();
    block.heads = heads, block.firstRow = first, block.rows = last - first + 1;
    block.firstKey = rule.firstKey(first);
    block.keys = rule.endKey(last, count) - block.firstKey;
    block.count = count;
    block.scale = static_cast<float>(rule.scale), block.softcap = static_cast<float>(rule.softcap);
    block.window = rule.window, block.isCausal = rule.isCausal;
    work(block);
  }
}

core::AttentionStatistics CudaBackend::attention(const core::AttentionInput& input, const core::Tensor& out, core::Job& job) {
  const Lock lock = begin(job);
  const core::AttentionRule& rule = input.rule;
  const int64_t count = input.count();
  const core::AttentionStatistics rows{allocate(rule.heads, count), allocate(rule.heads, count), allocate(rule.heads, count),
                                       allocate(rule.heads, count)};
  forEachBlock(input, rule.heads, 0, count, job, [&](ScoreBlock& block) {
    scores(input, 0, block);
    softmaxRows(block, deviceData(rows.max), deviceData(rows.logSumExp), deviceData(rows.entropy), deviceData(rows.distance), stream_);
    Pointers p;
    for (int64_t h = 0; h < rule.heads; ++h) {
      p.left.push_back(deviceData(input.value) + block.firstKey * input.value.stride + rule.kvHeadOf(h) * rule.valueWidth);
      p.right.push_back(block.scores + h * block.rows * block.keys);
      p.out.push_back(deviceData(out) + block.firstRow * out.stride + h * rule.valueWidth);
    }
    const DeviceArray<const float*> values(std::span<const float*const>(p.left), stream_),
        weights(std::span<const float*const>(p.right), stream_);
    const DeviceArray<float*> target(std::span<float* const>(p.out), stream_);
    const float one = 1.0f, zero = 0.0f;
    check(cublasSgemmBatched_64(blas_, CUBLAS_OP_N, CUBLAS_OP_N, rule.valueWidth, block.rows, block.keys, &one, values.data(),
                                input.value.stride, weights.data(), block.keys, &zero, target.data(), out.stride, rule.heads),
          "attention output");
  });
  synchronise("attention");  // bounds how far a pass runs ahead, so that a cancelled job stops within a layer
  return rows;
}

core::Matrix CudaBackend::mapTile(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                                  const core::TileRequest& request, core::Job& job) {
  const Lock lock = begin(job);
  const int64_t count = input.count(), side = int64_t{1} << request.level;
  const int64_t firstKey = request.firstCol * side, keys = std::min(count, (request.firstCol + request.cols) * side) - firstKey;
  const core::Tensor cells = allocate(request.rows, request.cols);
  const int64_t cellRowsAtOnce = std::max<int64_t>(1, kScoreBytes / std::max<int64_t>(1, keys * side * 4));
  const int64_t widest = std::min(cellRowsAtOnce, request.rows) * side;
  const DeviceArray<float> buffer(widest * keys, stream_);
  for (int64_t first = 0; first < request.rows; first += cellRowsAtOnce) {
    job.checkpoint();
    const int64_t cellRows = std::min(cellRowsAtOnce, request.rows - first);
    const core::AttentionRule& rule = input.rule;
    ScoreBlock block{};
    block.scores = buffer.data();
    block.heads = 1, block.firstRow = (request.firstRow + first) * side;
    block.rows = std::min(count, (request.firstRow + first + cellRows) * side) - block.firstRow;
    block.firstKey = firstKey, block.keys = keys, block.count = count;
    block.scale = static_cast<float>(rule.scale), block.softcap = static_cast<float>(rule.softcap);
    block.window = rule.window, block.isCausal = rule.isCausal;
    scores(input, head, block);
    weightsFromStatistics(block, deviceData(rows.logSumExp) + head * count, stream_);
    poolWeights(block, request.level, request.pooling == core::Pooling::Mean, cellRows, request.cols,
                deviceData(cells) + first * request.cols, stream_);
  }
  return download(cells);
}

std::vector<float> CudaBackend::columnMass(const core::AttentionInput& input, const core::AttentionStatistics& rows, int64_t head,
                                           core::Job& job) {
  const Lock lock = begin(job);
  const int64_t count = input.count();
  const core::Tensor mass = allocate(1, count);
  check(cudaMemsetAsync(deviceData(mass), 0, static_cast<size_t>(count) * sizeof(float), stream_), "clearing memory");
  forEachBlock(input, 1, 0, count, job, [&](ScoreBlock& block) {
    scores(input, head, block);
    weightsFromStatistics(block, deviceData(rows.logSumExp) + head * count, stream_);
    addColumnMass(block, deviceData(mass), stream_);
  });
  const core::Matrix host = download(mass);
  return {host.data(), host.data() + count};
}

core::Matrix CudaBackend::patternSums(const core::AttentionInput& input, const core::AttentionStatistics& rows,
                                      const core::RowPattern& pattern, core::Job& job) {
  const Lock lock = begin(job);
  const core::Tensor sums = allocate(input.rule.heads, pattern.rows());
  if (sums.empty()) return core::Matrix(sums.rows, sums.cols);
  const DeviceArray<int64_t> starts(std::span<const int64_t>(pattern.starts), stream_);
  const DeviceArray<int32_t> cols(std::span<const int32_t>(pattern.cols), stream_);
  gpu::patternSums(matrix(input.query), matrix(input.key), input.rule, input.count(), deviceData(rows.logSumExp), pattern.firstRow,
                   pattern.rows(), starts.data(), cols.data(), deviceData(sums), stream_);
  return download(sums);
}

core::KeysNeeded CudaBackend::keysNeeded(const core::AttentionInput& input, const core::AttentionStatistics& rows,
                                         const core::Matrix* keyWeights, std::span<const double> shares, core::Job& job) {
  const Lock lock = begin(job);
  const int64_t count = input.count(), heads = input.rule.heads, wanted = static_cast<int64_t>(shares.size());
  const DeviceArray<double> thresholds(shares, stream_);
  const core::Tensor plain = allocate(heads * wanted, count), weighted = allocate(keyWeights != nullptr ? heads * wanted : 0, count);
  const core::Tensor weights = keyWeights != nullptr ? upload(*keyWeights) : core::Tensor{};
  for (int64_t head = 0; head < heads; ++head) {
    forEachBlock(input, 1, 0, count, job, [&](ScoreBlock& block) {
      scores(input, head, block);
      weightsFromStatistics(block, deviceData(rows.logSumExp) + head * count, stream_);
      const DeviceMatrix found{block.scores, block.rows, block.keys, block.keys};
      const DeviceArray<float> ordered(block.rows * block.keys, stream_);
      const DeviceMatrix sorted{ordered.data(), block.rows, block.keys, block.keys};
      sortRowsDescending(found, sorted, stream_);
      countKeys(sorted, thresholds.data(), wanted, true, deviceData(plain) + head * wanted * count + block.firstRow, count, stream_);
      if (keyWeights == nullptr) return;
      scaleColumns(found, deviceData(weights) + head * count + block.firstKey, stream_);
      sortRowsDescending(found, sorted, stream_);
      countKeys(sorted, thresholds.data(), wanted, false, deviceData(weighted) + head * wanted * count + block.firstRow, count, stream_);
    });
  }
  return {download(plain), keyWeights != nullptr ? download(weighted) : core::Matrix{}};
}

}  // namespace headscope::gpu
