#pragma once
// Kernels on weights, as host functions that launch them on a stream: widening, triangles of Gram matrices, small SVDs, pair sums.
// Matrices are row-major, one after another in device memory; everything that matters to a spectrum is in double.
#include <cuda_runtime.h>

#include <cstdint>

#include "gpu/arithmetic/triangle.h"

namespace headscope::gpu {

void widen(const float* from, int64_t count, double* to, cudaStream_t stream);
void narrow(const double* from, int64_t count, float* to, cudaStream_t stream);
/// to[i] = from[i] [size_i], a matrix a task.
struct CopyTask {
  const double* from;
  double* to;
  int64_t size;
};
void copyMatrices(const CopyTask* tasks, int64_t count, cudaStream_t stream);

/// r [k, k] of every Gram matrix g [k, k], which is scratch afterwards; scratch [2 k].
struct TriangleTask {
  double *g, *r, *scratch;
  int k;
};
void triangles(const TriangleTask* tasks, int64_t count, TriangleInfo* infos, cudaStream_t stream);

/// r [k, k] made exact by a second Cholesky (gpu/arithmetic/second_triangle.h); f [k, m] and scratch [2 k k] are overwritten.
struct SecondTask {
  double *f, *r, *scratch;
  int k, m;
};
/// isDone[t] 1: r is the second triangle; 0: as it was.
void secondTriangles(const SecondTask* tasks, int64_t count, int* isDone, cudaStream_t stream);

/// r [k, k] of a factor f [k, m], which is overwritten, by Householder's reflections (gpu/arithmetic/householder.h).
struct HouseholderTask {
  double *f, *r;
  int k, m;
};
void householderTriangles(const HouseholderTask* tasks, int64_t count, TriangleInfo* infos, cudaStream_t stream);

/// Rows of x [n, length] made orthogonal; y [n, n] the rotations, or null; sigma [n] in no order.
struct SvdTask {
  double *x, *y, *sigma;
  int n, length;
};
/// sharedBytes: of a block. isWhole: the largest x among the tasks fits in it; else rows are fetched to it, as many as fit.
void orthogonalise(const SvdTask* tasks, int64_t count, size_t sharedBytes, bool isWhole, int* converged, cudaStream_t stream);
/// Bytes of x that fit in a block's shared memory on the current device.
size_t largestSharedCore();

/// energy[h, i] = the sum over a head's rows r of (values[i] times the square of vectors[i, r]); vectors [count, heads * perHead].
void vectorEnergies(const double* vectors, const double* values, int64_t count, int64_t heads, int64_t perHead, double* energy,
                    cudaStream_t stream);
/// energy[h, i] = the sum of the squares of rows [h * perHead, + perHead) of products [heads * perHead, count], in double.
void productEnergies(const float* products, int64_t count, int64_t heads, int64_t perHead, double* energy, cudaStream_t stream);

/// sums[r * stride + c] += weight * (the sum of parts[i, r, c] over `count` parts, in double); parts [count, rows, cols].
void addParts(const float* parts, int64_t count, int64_t rows, int64_t cols, double weight, double* sums, int64_t stride,
              cudaStream_t stream);

}  // namespace headscope::gpu
