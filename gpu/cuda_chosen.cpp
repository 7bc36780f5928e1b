// CudaBackend's attention where rows choose among the keys that they see, and tiles of maps under any mask: blocks of rows, their scores
// by cuBLAS over the keys that any of them sees, weights in place.
#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "gpu/arithmetic/map_cells.h"
#include "gpu/cleared_grid.h"
#include "gpu/cuda_products.h"
#include "gpu/kernels/choice.h"

namespace headscope::gpu {
namespace {

/// Bytes of scores held at once, and rows.
constexpr int64_t kScoreBytes = int64_t{512} << 20, kMostRows = 1024;

/// Keys [first, end) that any of the rows [from, to) sees; empty when there is none.
core::KeyRange keysOf(const core::RangeList& seen, int64_t from, int64_t to) {
  core::KeyRange all{std::numeric_limits<int64_t>::max(), 0};
  for (int64_t r = from; r < to; ++r) {
    const size_t begin = seen.begin[static_cast<size_t>(r)], end = seen.begin[static_cast<size_t>(r) + 1];
    if (begin == end) continue;
    all.first = std::min(all.first, seen.ranges[begin].first), all.end = std::max(all.end, seen.ranges[end - 1].end);
  }
  return all.end > all.first ? all : core::KeyRange{0, 0};
}

}  // namespace

std::vector<RowSums> CudaBackend::chooseBlocks(const core::MaskedHead& head, const core::KeyChoice& choice, int64_t level,
                                               const core::Job& job, const std::function<void(const ScoreBlock&, int64_t)>& work) {
  const int64_t rows = head.query.rows, count = head.key.rows, k = head.key.cols;
  const core::RangeList& seen = *choice.seen;
  const DeviceArray<float> query(rows * k, stream()), key(count * k, stream());
  sendAll({&head.query, 1}, query.data()), sendAll({&head.key, 1}, key.data());
  const DeviceArray<RowSums> sums(rows, stream());
  const int64_t step = rowsAtOnce(kMostRows, std::max<int64_t>(1, count), kScoreBytes / 4);
  const DeviceArray<float> buffer(std::min(step, rows) * count, stream());
  const float one = 1.0f, zero = 0.0f;
  for (int64_t first = 0; first < rows; first += step) {
    job.checkpoint();
    ScoreBlock block{};
    block.scores = buffer.data(), block.heads = 1;
    block.firstRow = head.firstRow + first, block.rows = std::min(step, rows - first);
    const core::KeyRange keys = keysOf(seen, first, first + block.rows);
    block.firstKey = (keys.first >> level) << level;  // on a cell's first key
    block.keys = block.pitch = keys.end - block.firstKey;
    block.count = count;
    block.scale = static_cast<float>(head.scale), block.softcap = static_cast<float>(head.softcap);
    if (block.keys > 0)
      check(cublasSgemm_64(blas(), CUBLAS_OP_T, CUBLAS_OP_N, block.keys, block.rows, k, &one, key.data() + block.firstKey * k, k,
                           query.data() + first * k, k, &zero, block.scores, block.pitch),
            "attention scores");
    const size_t from = seen.begin[static_cast<size_t>(first)], to = seen.begin[static_cast<size_t>(first + block.rows)];
    const DeviceArray<core::KeyRange> ranges(std::span<const core::KeyRange>(seen.ranges.data() + from, to - from), *pipe_);
    const DeviceArray<size_t> begin(std::span<const size_t>(seen.begin.data() + first, static_cast<size_t>(block.rows) + 1), *pipe_);
    chooseRows(block, {ranges.data(), begin.data(), from}, {choice.keys, choice.mass}, static_cast<float>(head.slope), sums.data() + first,
               stream());
    if (block.keys > 0) work(block, first);
  }
  return sums.toHost();
}

core::ChosenRows CudaBackend::chosenAttention(const core::MaskedHead& head, const core::KeyChoice& choice, core::MatrixView out,
                                              const core::Job& job) {
  const Lock lock = begin(job);
  const FloatProducts isFloat(*this);
  core::ChosenRows result;
  const int64_t rows = head.query.rows, v = out.cols;
  if (rows == 0) return result;
  const DeviceArray<float> value(v > 0 ? head.value.rows * v : 0, stream()), target(rows * v, stream());
  if (v > 0) {
    sendAll({&head.value, 1}, value.data());
    check(cudaMemsetAsync(target.data(), 0, static_cast<size_t>(rows * v) * sizeof(float), stream()), "clearing memory");
  }
  const float one = 1.0f, zero = 0.0f;
  const std::vector<RowSums> sums = chooseBlocks(head, choice, 0, job, [&](const ScoreBlock& block, int64_t first) {
    result.pairs += static_cast<double>(block.rows) * static_cast<double>(block.keys);
    result.keyRows += static_cast<double>(block.keys);
    if (v == 0) return;
    check(cublasSgemm_64(blas(), CUBLAS_OP_N, CUBLAS_OP_N, v, block.rows, block.keys, &one, value.data() + block.firstKey * v, v,
                         block.scores, block.pitch, &zero, target.data() + first * v, v),
          "attention output");
  });
  for (const RowSums& row : sums) {
    result.logSumExp.push_back(row.logSumExp), result.logSumSquares.push_back(row.logSumSquares);
    result.kept += row.kept;
  }
  const std::vector<float> found = target.toHost();
  for (int64_t r = 0; r < rows && v > 0; ++r) std::memcpy(out.row(r), found.data() + r * v, static_cast<size_t>(v) * sizeof(float));
  return result;
}

core::Matrix CudaBackend::chosenTile(const core::MaskedHead& head, const core::KeyChoice& choice, const core::TileRequest& request,
                                     const core::Job& job) {
  const Lock lock = begin(job);
  const FloatProducts isFloat(*this);
  const int64_t count = head.key.rows, side = int64_t{1} << request.level;
  const int64_t firstKey = request.firstCol * side, endKey = std::min(count, (request.firstCol + request.cols) * side);
  const core::Tensor cells = allocate(request.rows, request.cols);
  if (cells.empty()) return core::Matrix(request.rows, request.cols);
  const CellGrid grid = clearedGrid(deviceData(cells), request, stream());
  chooseBlocks(head, choice, request.level, job, [&](const ScoreBlock& whole, int64_t) {
    ScoreBlock part = whole;
    part.firstKey = std::max(whole.firstKey, firstKey);
    part.keys = std::min(whole.firstKey + whole.keys, endKey) - part.firstKey;
    part.scores += part.firstKey - whole.firstKey;
    if (part.keys > 0) poolWeights(part, grid, stream());
  });
  if (grid.isMean) finishMeans(grid, count, stream());
  return download(cells);
}

}  // namespace headscope::gpu
