// Keys needed: rows sorted by CUB's segmented sort, then counted by prefix sums in double.
#include <cub/block/block_scan.cuh>
#include <cub/device/device_segmented_sort.cuh>

#include "gpu/device/check.h"
#include "gpu/device/device_memory.h"
#include "gpu/kernels/kernels.h"
#include "gpu/kernels/launch.h"
#include "gpu/kernels/reduce.cuh"

namespace headscope::gpu {
namespace {

constexpr int kMaxShares = 8;

__global__ void rowStartsKernel(int64_t rows, int64_t stride, int64_t* starts) {
  for (int64_t r = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; r <= rows; r += int64_t{gridDim.x} * blockDim.x) starts[r] = r * stride;
}

/// One block a row. Walks the row in steps of blockDim keys with a running prefix sum; a key counts for a share while the sum
/// before it falls short, so the count is the number of keys whose exclusive prefix is below the threshold.
__global__ void countKernel(DeviceMatrix sorted, const double* shares, int64_t shareCount, bool isNormalised, float* out,
                            int64_t outStride) {
  using Scan = cub::BlockScan<double, kBlock>;
  __shared__ typename Scan::TempStorage scratch;
  for (int64_t r = blockIdx.x; r < sorted.rows; r += gridDim.x) {
    const float* row = sorted.data + r * sorted.stride;
    double total = 1.0;
    if (!isNormalised) {
      double part = 0.0;
      for (int64_t j = threadIdx.x; j < sorted.cols; j += blockDim.x) part += row[j];
      total = blockReduce(part, 0.0, Sum{});
    }
    double before = 0.0;
    int counts[kMaxShares] = {};
    for (int64_t first = 0; first < sorted.cols; first += blockDim.x) {
      const int64_t j = first + threadIdx.x;
      double exclusive = 0.0, sum = 0.0;
      Scan(scratch).ExclusiveSum(j < sorted.cols ? static_cast<double>(row[j]) : 0.0, exclusive, sum);
      __syncthreads();
      for (int64_t s = 0; s < shareCount; ++s) {
        const double threshold = (shares[s] - 1e-9) * total;
        if (j < sorted.cols && (j == 0 || before + exclusive < threshold)) ++counts[s];
      }
      before += sum;
    }
    for (int64_t s = 0; s < shareCount; ++s) {
      const int count = blockReduce(counts[s], 0, Sum{});
      if (threadIdx.x == 0) out[s * outStride + r] = before == before ? static_cast<float>(count) : before;
    }
  }
}

}  // namespace

void sortRowsDescending(const DeviceMatrix& from, const DeviceMatrix& sorted, cudaStream_t stream) {
  DeviceArray<int64_t> starts(from.rows + 1, stream);
  rowStartsKernel<<<gridFor(from.rows + 1), kBlock, 0, stream>>>(from.rows, from.stride, starts.data());
  checkLaunch("row starts");
  const int64_t items = from.rows * from.stride;
  size_t bytes = 0;
  check(cub::DeviceSegmentedSort::SortKeysDescending(nullptr, bytes, from.data, sorted.data, items, from.rows, starts.data(),
                                                     starts.data() + 1, stream),
        "sizing a sort");
  DeviceArray<std::byte> scratch(static_cast<int64_t>(bytes), stream);
  check(cub::DeviceSegmentedSort::SortKeysDescending(scratch.data(), bytes, from.data, sorted.data, items, from.rows, starts.data(),
                                                     starts.data() + 1, stream),
        "sorting rows");
}

void countKeys(const DeviceMatrix& sorted, const double* shares, int64_t shareCount, bool isNormalised, float* out, int64_t outStride,
               cudaStream_t stream) {
  for (int64_t first = 0; first < shareCount; first += kMaxShares) {
    countKernel<<<gridFor(sorted.rows, 1), kBlock, 0, stream>>>(sorted, shares + first, std::min<int64_t>(kMaxShares, shareCount - first),
                                                                isNormalised, out + first * outStride, outStride);
    checkLaunch("counting keys");
  }
}

}  // namespace headscope::gpu
