// CudaBackend's attention under any mask: the mask becomes a plan of tiles on the host, a batch of rows at a time.
#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/arithmetic/tile_plan.h"
#include "gpu/cuda_backend.h"
#include "gpu/kernels/tile_attention.h"

namespace headscope::gpu {
namespace {

/// Rows whose plan is held at once: 512 bytes for each 64 x 64 tile.
constexpr int64_t kPlannedRows = 4096;

}  // namespace

core::MaskedRows CudaBackend::maskedAttention(const core::MaskedHead& head, const core::RangeList& seen, core::MatrixView out,
                                              const core::Job& job) {
  const Lock lock = begin(job);
  const int64_t rows = head.query.rows, k = head.key.cols, v = head.value.cols;
  core::MaskedRows result;
  result.logSumExp.assign(static_cast<size_t>(rows), -INFINITY);
  if (rows == 0 || v == 0) return result;
  static_assert(core::kWidestMaskedHead == kWidestHead);
  if (k > kWidestHead || v > kWidestHead) throw core::Error("a head wider than 256 under a mask is the CPU's");  // callers ask first
  const DeviceArray<float> query(rows * k, stream()), key(head.key.rows * k, stream()), value(head.value.rows * v, stream()),
      target(rows * v, stream()), sums(rows, stream());
  sendAll({&head.query, 1}, query.data()), sendAll({&head.key, 1}, key.data()), sendAll({&head.value, 1}, value.data());
  const TileHead tiles{query.data(),
                       key.data(),
                       value.data(),
                       target.data(),
                       k,
                       k,
                       v,
                       v,
                       rows,
                       head.firstRow,
                       static_cast<int>(k),
                       static_cast<int>(v),
                       static_cast<float>(head.scale),
                       static_cast<float>(head.softcap),
                       static_cast<float>(head.slope)};
  for (int64_t first = 0; first < rows; first += kPlannedRows) {
    job.checkpoint();
    const TilePlan plan = planTiles(seen, first, std::min(kPlannedRows, rows - first));
    const DeviceArray<int64_t> columns(std::span<const int64_t>(plan.firstColumn), *pipe_),
        starts(std::span<const int64_t>(plan.firstTile), *pipe_);
    const DeviceArray<int32_t> keys(std::span<const int32_t>(plan.columns), *pipe_);
    const DeviceArray<uint64_t> masks(std::span<const uint64_t>(plan.masks), *pipe_);
    attendMasked(tiles, {columns.data(), starts.data(), keys.data(), masks.data(), plan.blocks(), first}, sums.data(), stream());
    result.pairs += static_cast<double>(plan.masks.size() * kTileSide);
    result.keyRows += static_cast<double>(plan.columns.size());
  }
  const std::vector<float> found = target.toHost();
  for (int64_t r = 0; r < rows; ++r) std::memcpy(out.row(r), found.data() + r * v, static_cast<size_t>(v) * sizeof(float));
  result.logSumExp = sums.toHost();
  return result;
}

}  // namespace headscope::gpu
