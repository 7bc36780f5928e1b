// Kernels on weights: thin over gpu/arithmetic/{triangle,jacobi}.h, one block a matrix.
#include "gpu/arithmetic/householder.h"
#include "gpu/arithmetic/jacobi.h"
#include "gpu/arithmetic/second_triangle.h"
#include "gpu/device/check.h"
#include "gpu/kernels/block_team.cuh"
#include "gpu/kernels/for_each.cuh"
#include "gpu/kernels/weight_kernels.h"

namespace headscope::gpu {
namespace {

constexpr unsigned kTeamThreads = 512;
constexpr unsigned kLargeTeamThreads = 1024;  // for matrices of which a processor holds one
constexpr size_t kLargeShared = size_t{48} << 10;
constexpr size_t kStaticShared = 2048;  // what the reductions take beside the matrix, generously

__global__ void widenKernel(const float* from, int64_t count, double* to) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) to[i] = from[i];
}

__global__ void narrowKernel(const double* from, int64_t count, float* to) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x)
    to[i] = static_cast<float>(from[i]);
}

__global__ void copyKernel(const CopyTask* tasks, int64_t count) {
  for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
    for (int64_t i = threadIdx.x; i < tasks[t].size; i += blockDim.x) tasks[t].to[i] = tasks[t].from[i];
  }
}

__global__ void __launch_bounds__(kTeamThreads) triangleKernel(const TriangleTask* tasks, int64_t count, TriangleInfo* infos) {
  BlockTeam team;
  for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
    const TriangleTask task = tasks[t];
    const TriangleInfo info = triangleOf(team, task.g, task.k, task.r, task.scratch, task.scratch + task.k);
    if (threadIdx.x == 0) infos[t] = info;
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kTeamThreads) secondTriangleKernel(const SecondTask* tasks, int64_t count, int* isDone) {
  BlockTeam team;
  for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
    const SecondTask task = tasks[t];
    const bool isBetter = secondTriangle(team, task.f, task.k, task.m, task.r, task.scratch, task.scratch + int64_t{task.k} * task.k);
    if (threadIdx.x == 0) isDone[t] = isBetter ? 1 : 0;
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kLargeTeamThreads) householderKernel(const HouseholderTask* tasks, int64_t count, TriangleInfo* infos) {
  BlockTeam team;
  for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
    const HouseholderTask task = tasks[t];
    const TriangleInfo info = householderTriangle(team, task.f, task.k, task.m, task.r);
    if (threadIdx.x == 0) infos[t] = info;
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kLargeTeamThreads)
    orthogonaliseKernel(const SvdTask* tasks, int64_t count, int shared, bool isWhole, int* converged) {
  extern __shared__ double core[];
  BlockTeam team;
  for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
    const SvdTask task = tasks[t];
    const int size = task.n * task.length;
    double* x = isWhole ? core : task.x;
    if (isWhole) team.forEach(size, [&](int i) { core[i] = task.x[i]; });
    const bool isDone = orthogonaliseRows(team, x, task.n, task.length, task.y, task.sigma, isWhole ? nullptr : core, shared / task.length);
    if (isWhole) team.forEach(size, [&](int i) { task.x[i] = core[i]; });
    if (threadIdx.x == 0) converged[t] = isDone ? 1 : 0;
    __syncthreads();
  }
}

}  // namespace

void widen(const float* from, int64_t count, double* to, cudaStream_t stream) {
  if (count == 0) return;
  widenKernel<<<gridFor(count), kBlock, 0, stream>>>(from, count, to);
  checkLaunch("widening");
}

void narrow(const double* from, int64_t count, float* to, cudaStream_t stream) {
  if (count == 0) return;
  narrowKernel<<<gridFor(count), kBlock, 0, stream>>>(from, count, to);
  checkLaunch("narrowing");
}

void copyMatrices(const CopyTask* tasks, int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  copyKernel<<<gridFor(count, 1), kBlock, 0, stream>>>(tasks, count);
  checkLaunch("copying matrices");
}

void triangles(const TriangleTask* tasks, int64_t count, TriangleInfo* infos, cudaStream_t stream) {
  if (count == 0) return;
  triangleKernel<<<gridFor(count, 1), kTeamThreads, 0, stream>>>(tasks, count, infos);
  checkLaunch("triangles of Gram matrices");
}

void secondTriangles(const SecondTask* tasks, int64_t count, int* isDone, cudaStream_t stream) {
  if (count == 0) return;
  secondTriangleKernel<<<gridFor(count, 1), kTeamThreads, 0, stream>>>(tasks, count, isDone);
  checkLaunch("second triangles");
}

void householderTriangles(const HouseholderTask* tasks, int64_t count, TriangleInfo* infos, cudaStream_t stream) {
  if (count == 0) return;
  householderKernel<<<gridFor(count, 1), kLargeTeamThreads, 0, stream>>>(tasks, count, infos);
  checkLaunch("triangles by reflections");
}

size_t largestSharedCore() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "reading the device");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "reading the device's shared memory");
  return static_cast<size_t>(bytes) > kStaticShared ? static_cast<size_t>(bytes) - kStaticShared : 0;
}

void orthogonalise(const SvdTask* tasks, int64_t count, size_t sharedBytes, bool isWhole, int* converged, cudaStream_t stream) {
  if (count == 0) return;
  if (sharedBytes > (size_t{48} << 10) - kStaticShared) {
    check(cudaFuncSetAttribute(orthogonaliseKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(sharedBytes)),
          "asking for shared memory");
  }
  const unsigned threads = sharedBytes > kLargeShared ? kLargeTeamThreads : kTeamThreads;
  orthogonaliseKernel<<<gridFor(count, 1), threads, sharedBytes, stream>>>(tasks, count, static_cast<int>(sharedBytes / sizeof(double)),
                                                                           isWhole, converged);
  checkLaunch("small SVDs");
}

void vectorEnergies(const double* vectors, const double* values, int64_t count, int64_t heads, int64_t perHead, double* energy,
                    cudaStream_t stream) {
  forEach(heads, count, stream, "energies of heads", [=] __device__(int64_t h, int64_t i) {
    const double* own = vectors + i * heads * perHead + h * perHead;
    double sum = 0;
    for (int64_t r = 0; r < perHead; ++r) sum += own[r] * own[r];
    energy[h * count + i] = values[i] > 0 ? values[i] * sum : 0.0;
  });
}

void productEnergies(const float* products, int64_t count, int64_t heads, int64_t perHead, double* energy, cudaStream_t stream) {
  forEach(heads, count, stream, "energies of heads", [=] __device__(int64_t h, int64_t i) {
    double sum = 0;
    for (int64_t r = 0; r < perHead; ++r) {
      const double at = products[(h * perHead + r) * count + i];
      sum += at * at;
    }
    energy[h * count + i] = sum;
  });
}

void addParts(const float* parts, int64_t count, int64_t rows, int64_t cols, double weight, double* sums, int64_t stride,
              cudaStream_t stream) {
  forEach(rows, cols, stream, "adding pair sums", [=] __device__(int64_t r, int64_t c) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += parts[(i * rows + r) * cols + c];
    sums[r * stride + c] += weight * sum;
  });
}

}  // namespace headscope::gpu
