// Operations on rows: bias, norm, rotary positions, activations, gathering.
#include "gpu/arithmetic/activation.h"
#include "gpu/arithmetic/online_softmax.h"
#include "gpu/arithmetic/rotary.h"
#include "gpu/device/check.h"
#include "gpu/kernels/for_each.cuh"
#include "gpu/kernels/kernels.h"
#include "gpu/kernels/launch.h"
#include "gpu/kernels/reduce.cuh"

namespace headscope::gpu {
namespace {

__global__ void normKernel(DeviceMatrix x, bool isLayerNorm, float eps, int64_t groups, const float* gain, const float* bias,
                           DeviceMatrix out) {
  const int64_t width = x.cols / groups;
  for (int64_t g = blockIdx.x; g < x.rows * groups; g += gridDim.x) {
    const float* in = x.data + (g / groups) * x.stride + (g % groups) * width;
    float* to = out.data + (g / groups) * out.stride + (g % groups) * width;
    double sum = 0.0;
    if (isLayerNorm) {
      for (int64_t c = threadIdx.x; c < width; c += blockDim.x) sum += in[c];
    }
    const float mean = static_cast<float>(blockReduce(sum, 0.0, Sum{}) / static_cast<double>(width));
    double squares = 0.0;
    for (int64_t c = threadIdx.x; c < width; c += blockDim.x) {
      const float centred = in[c] - mean;
      squares += static_cast<double>(centred) * centred;
    }
    const float factor =
        static_cast<float>(1.0 / sqrt(blockReduce(squares, 0.0, Sum{}) / static_cast<double>(width) + static_cast<double>(eps)));
    for (int64_t c = threadIdx.x; c < width; c += blockDim.x)
      to[c] = (in[c] - mean) * factor * gain[c] + (bias != nullptr ? bias[c] : 0.0f);
  }
}

__global__ void rowNormsKernel(DeviceMatrix x, float* norms) {
  for (int64_t r = blockIdx.x; r < x.rows; r += gridDim.x) {
    double squares = 0.0;
    for (int64_t c = threadIdx.x; c < x.cols; c += blockDim.x)
      squares += static_cast<double>(x.data[r * x.stride + c]) * x.data[r * x.stride + c];
    squares = blockReduce(squares, 0.0, Sum{});
    if (threadIdx.x == 0) norms[r] = static_cast<float>(sqrt(squares));
  }
}

__global__ void summariseKernel(DeviceMatrix tile, int64_t first, const int32_t* targets, float* max, double* sum, float* target) {
  for (int64_t r = blockIdx.x; r < tile.rows; r += gridDim.x) {
    const float* row = tile.data + r * tile.stride;
    float top = -INFINITY;
    for (int64_t c = threadIdx.x; c < tile.cols; c += blockDim.x) top = Max{}(top, row[c]);
    top = Max{}(blockReduce(top, -INFINITY, Max{}), max[r]);
    double part = 0.0;
    for (int64_t c = threadIdx.x; c < tile.cols; c += blockDim.x) part += static_cast<double>(expf(row[c] - top));
    part = blockReduce(part, 0.0, Sum{});
    if (threadIdx.x == 0) {
      sum[r] = (sum[r] > 0.0 ? sum[r] * static_cast<double>(expf(max[r] - top)) : 0.0) + part;
      max[r] = top;
      const int64_t wanted = targets[r] - first;
      if (targets[r] >= 0 && wanted >= 0 && wanted < tile.cols) target[r] = row[wanted];
    }
  }
}

unsigned rowGrid(int64_t rows) { return gridFor(rows, 1); }

}  // namespace

void addBias(const DeviceMatrix& x, const float* bias, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "adding a bias", [=] __device__(int64_t r, int64_t c) { x.data[r * x.stride + c] += bias[c]; });
}

void scaleColumns(const DeviceMatrix& x, const float* factors, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "scaling columns", [=] __device__(int64_t r, int64_t c) { x.data[r * x.stride + c] *= factors[c]; });
}

void addRows(const DeviceMatrix& x, const DeviceMatrix& y, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "adding", [=] __device__(int64_t r, int64_t c) { x.data[r * x.stride + c] += y.data[r * y.stride + c]; });
}

void scaleAll(const DeviceMatrix& x, float factor, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "scaling", [=] __device__(int64_t r, int64_t c) { x.data[r * x.stride + c] *= factor; });
}

void softcapAll(const DeviceMatrix& x, float cap, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "soft cap", [=] __device__(int64_t r, int64_t c) {
    float& value = x.data[r * x.stride + c];
    value = softCapped(value, cap);
  });
}

void activateAll(const DeviceMatrix& x, core::Activation activation, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "activation", [=] __device__(int64_t r, int64_t c) {
    float& value = x.data[r * x.stride + c];
    value = activated(activation, value);
  });
}

void gateAll(const DeviceMatrix& x, const DeviceMatrix& gate, core::Activation activation, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "gated activation",
          [=] __device__(int64_t r, int64_t c) { x.data[r * x.stride + c] *= activated(activation, gate.data[r * gate.stride + c]); });
}

void copyRows(const DeviceMatrix& from, const DeviceMatrix& to, cudaStream_t stream) {
  forEach(from.rows, from.cols, stream, "copying",
          [=] __device__(int64_t r, int64_t c) { to.data[r * to.stride + c] = from.data[r * from.stride + c]; });
}

void normRows(const DeviceMatrix& x, bool isLayerNorm, float eps, int64_t groups, const float* gain, const float* bias,
              const DeviceMatrix& out, cudaStream_t stream) {
  if (x.rows == 0) return;
  normKernel<<<rowGrid(x.rows * groups), kBlock, 0, stream>>>(x, isLayerNorm, eps, groups, gain, bias, out);
  checkLaunch("norm");
}

void ropeRows(const DeviceMatrix& x, const RopeTurns& t, cudaStream_t stream) {
  const int64_t half = t.dims / 2;
  // One thread turns a pair of dimensions of all heads: sines in double are dear, most of all on cards made for pictures
  forEach(x.rows, half, stream, "rotary positions", [=] __device__(int64_t r, int64_t i) {
    const Turn turn = turnAt(t.firstPosition + r, t.frequencies[i], t.magnitude, t.isInverse);
    float* at = x.data + r * x.stride + t.offset;
    for (int64_t head = 0; head < t.heads; ++head, at += t.headWidth) {
      float& a = at[t.isInterleaved ? 2 * i : i];
      float& b = at[t.isInterleaved ? 2 * i + 1 : i + half];
      const float first = a, second = b;
      a = first * turn.cosine - second * turn.sine;
      b = second * turn.cosine + first * turn.sine;
    }
  });
}

void copyHeads(const DeviceMatrix& from, int64_t fromHeads, const DeviceMatrix& to, int64_t heads, int64_t toOffset, cudaStream_t stream) {
  const int64_t width = from.cols / fromHeads, toWidth = to.cols / heads;
  forEach(from.rows, heads * width, stream, "copying heads", [=] __device__(int64_t r, int64_t e) {
    const unsigned head = static_cast<unsigned>(e) / static_cast<unsigned>(width), source = head % static_cast<unsigned>(fromHeads);
    const int64_t c = e - int64_t{head} * width;
    to.data[r * to.stride + head * toWidth + toOffset + c] = from.data[r * from.stride + source * width + c];
  });
}

void gatherRows(const DeviceMatrix& x, const int32_t* rows, const DeviceMatrix& out, cudaStream_t stream) {
  forEach(out.rows, out.cols, stream, "gathering rows",
          [=] __device__(int64_t r, int64_t c) { out.data[r * out.stride + c] = x.data[int64_t{rows[r]} * x.stride + c]; });
}

void scatterRows(const DeviceMatrix& x, const int32_t* rows, const float* weights, const DeviceMatrix& out, cudaStream_t stream) {
  forEach(x.rows, x.cols, stream, "scattering rows",
          [=] __device__(int64_t r, int64_t c) { out.data[int64_t{rows[r]} * out.stride + c] += weights[r] * x.data[r * x.stride + c]; });
}

void rowNorms(const DeviceMatrix& x, float* norms, cudaStream_t stream) {
  if (x.rows == 0) return;
  rowNormsKernel<<<rowGrid(x.rows), kBlock, 0, stream>>>(x, norms);
  checkLaunch("row norms");
}

void summariseLogits(const DeviceMatrix& tile, int64_t first, const int32_t* targets, float* max, double* sum, float* target,
                     cudaStream_t stream) {
  if (tile.rows == 0) return;
  summariseKernel<<<rowGrid(tile.rows), kBlock, 0, stream>>>(tile, first, targets, max, sum, target);
  checkLaunch("summarising logits");
}

}  // namespace headscope::gpu
