#pragma once
// The cells that a map's tile is pooled into, all zero at first.
#include "core/backend/tile_request.h"
#include "gpu/device/check.h"
#include "gpu/kernels/kernels.h"

namespace headscope::gpu {

/// cells [request.rows, request.cols], on the device.
inline CellGrid clearedGrid(float* cells, const core::TileRequest& request, cudaStream_t stream) {
  check(cudaMemsetAsync(cells, 0, static_cast<size_t>(request.rows * request.cols) * sizeof(float), stream), "clearing memory");
  return {cells, request.level, request.firstRow, request.firstCol, request.rows, request.cols, request.pooling == core::Pooling::Mean};
}

}  // namespace headscope::gpu
