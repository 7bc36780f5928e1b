// Operations that work row by row: norms, rotation, activations, sums, gathers.
#include <algorithm>
#include <cassert>
#include <cmath>

#include "core/backend/cpu/kernels.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

/// Rows a piece so that it holds about 32,000 numbers.
int64_t grain(int64_t cols) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, cols)); }

template <class Body>
void forRows(int64_t rows, int64_t cols, Job& job, Body body) {
  parallelRanges(
      rows, grain(cols),
      [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) body(r);
      },
      &job);
}

double sumOf(const float* x, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < count; ++c) sum += x[c];
  return sum;
}

double sumOfSquares(const float* x, int64_t count, double mean) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t c = 0; c < count; ++c) sum += (x[c] - mean) * (x[c] - mean);
  return sum;
}

void normVector(const float* x, int64_t width, NormKind kind, double eps, const NormWeights& weights, float* out) {
  const double mean = kind == NormKind::LayerNorm ? sumOf(x, width) / static_cast<double>(width) : 0.0;
  const double variance = sumOfSquares(x, width, mean) / static_cast<double>(width);
  const float shift = static_cast<float>(mean), factor = static_cast<float>(1.0 / std::sqrt(variance + eps));
  const float* gain = weights.gain.data();
  const float* bias = weights.bias.empty() ? nullptr : weights.bias.data();
  if (bias == nullptr) {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) out[c] = (x[c] - shift) * factor * gain[c];
  } else {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) out[c] = (x[c] - shift) * factor * gain[c] + bias[c];
  }
}

template <Activation kind>
void activateRow(float* x, int64_t count) {
#pragma omp simd
  for (int64_t c = 0; c < count; ++c) x[c] = activated<kind>(x[c]);
}

template <Activation kind>
void gateRow(float* x, const float* gate, int64_t count) {
#pragma omp simd
  for (int64_t c = 0; c < count; ++c) x[c] = activated<kind>(gate[c]) * x[c];
}

/// Calls with.operator()<kind>() for the activation.
template <class With>
void dispatch(Activation activation, With with) {
  switch (activation) {
    case Activation::GeluErf:
      return with.template operator()<Activation::GeluErf>();
    case Activation::GeluTanh:
      return with.template operator()<Activation::GeluTanh>();
    case Activation::GeluQuick:
      return with.template operator()<Activation::GeluQuick>();
    case Activation::Silu:
      return with.template operator()<Activation::Silu>();
    case Activation::Relu:
      return with.template operator()<Activation::Relu>();
    case Activation::ReluSquared:
      return with.template operator()<Activation::ReluSquared>();
    case Activation::Tanh:
      return with.template operator()<Activation::Tanh>();
    case Activation::Sigmoid:
      return with.template operator()<Activation::Sigmoid>();
    case Activation::Identity:
      return;
  }
}

}  // namespace

void norm(ConstMatrixView x, const NormRule& rule, const NormWeights& weights, MatrixView out, Job& job) {
  const int64_t width = x.cols / rule.groups;
  assert(width * rule.groups == x.cols && static_cast<int64_t>(weights.gain.size()) == width);
  forRows(x.rows, x.cols, job, [&](int64_t r) {
    for (int64_t g = 0; g < rule.groups; ++g) normVector(x.row(r) + g * width, width, rule.kind, rule.eps, weights, out.row(r) + g * width);
  });
}

void rope(MatrixView x, const RopeRule& rule, const RopeSpec& spec, Job& job) {
  const int64_t half = spec.dims / 2;
  assert(x.cols == rule.heads * rule.headWidth && static_cast<int64_t>(spec.frequencies.size()) == half);
  assert(rule.offset + spec.dims <= rule.headWidth);
  forRows(x.rows, x.cols, job, [&](int64_t r) {
    std::vector<float> cosine(static_cast<size_t>(half)), sine(static_cast<size_t>(half));
    // The inverse divides by the magnitude that the rotation multiplied by
    const double magnitude = rule.isInverse ? 1.0 / spec.magnitude : spec.magnitude;
    for (int64_t i = 0; i < half; ++i) {
      // The float32 product, as the model was trained with: see RopeSpec
      const double angle = static_cast<float>(rule.firstPosition + r) * static_cast<float>(spec.frequencies[static_cast<size_t>(i)]);
      cosine[static_cast<size_t>(i)] = static_cast<float>(std::cos(angle) * magnitude);
      sine[static_cast<size_t>(i)] = static_cast<float>((rule.isInverse ? -std::sin(angle) : std::sin(angle)) * magnitude);
    }
    const int64_t apart = spec.isInterleaved ? 1 : half, step = spec.isInterleaved ? 2 : 1;
    for (int64_t h = 0; h < rule.heads; ++h) {
      float* v = x.row(r) + h * rule.headWidth + rule.offset;
      for (int64_t i = 0; i < half; ++i) {
        float& a = v[i * step];
        float& b = v[i * step + apart];
        const float c = cosine[static_cast<size_t>(i)], s = sine[static_cast<size_t>(i)], a0 = a, b0 = b;
        a = a0 * c - b0 * s;
        b = b0 * c + a0 * s;
      }
    }
  });
}

void activate(MatrixView x, Activation activation, Job& job) {
  dispatch(activation, [&]<Activation kind>() { forRows(x.rows, x.cols, job, [&](int64_t r) { activateRow<kind>(x.row(r), x.cols); }); });
}

void gate(MatrixView x, ConstMatrixView gate, Activation activation, Job& job) {
  if (activation == Activation::Identity) {
    forRows(x.rows, x.cols, job, [&](int64_t r) { gateRow<Activation::Identity>(x.row(r), gate.row(r), x.cols); });
    return;
  }
  dispatch(activation,
           [&]<Activation kind>() { forRows(x.rows, x.cols, job, [&](int64_t r) { gateRow<kind>(x.row(r), gate.row(r), x.cols); }); });
}

void add(MatrixView x, ConstMatrixView y, Job& job) {
  forRows(x.rows, x.cols, job, [&](int64_t r) {
    float* a = x.row(r);
    const float* b = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) a[c] += b[c];
  });
}

void scale(MatrixView x, float factor, Job& job) {
  forRows(x.rows, x.cols, job, [&](int64_t r) {
    float* a = x.row(r);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) a[c] *= factor;
  });
}

void softcap(MatrixView x, float cap, Job& job) {
  forRows(x.rows, x.cols, job, [&](int64_t r) {
    float* a = x.row(r);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) a[c] = cap * hyperbolicTangent(a[c] / cap);
  });
}

void copyHeads(ConstMatrixView from, int64_t fromHeads, MatrixView to, int64_t heads, int64_t toOffset, Job& job) {
  const int64_t width = from.cols / fromHeads, toWidth = to.cols / heads;
  assert(from.rows == to.rows && toOffset + width <= toWidth);
  forRows(to.rows, to.cols, job, [&](int64_t r) {
    for (int64_t h = 0; h < heads; ++h) {
      std::copy_n(from.row(r) + (h % fromHeads) * width, width, to.row(r) + h * toWidth + toOffset);
    }
  });
}

void gatherRows(ConstMatrixView x, std::span<const int32_t> rows, MatrixView out, Job& job) {
  forRows(out.rows, out.cols, job, [&](int64_t r) { std::copy_n(x.row(rows[static_cast<size_t>(r)]), x.cols, out.row(r)); });
}

void scatterRows(ConstMatrixView x, std::span<const int32_t> rows, std::span<const float> weights, MatrixView out, Job& job) {
  forRows(x.rows, x.cols, job, [&](int64_t r) {
    const float* a = x.row(r);
    float* b = out.row(rows[static_cast<size_t>(r)]);
    const float w = weights[static_cast<size_t>(r)];
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) b[c] += w * a[c];
  });
}

std::vector<float> rowNorms(ConstMatrixView x, Job& job) {
  std::vector<float> norms(static_cast<size_t>(x.rows));
  forRows(x.rows, x.cols, job,
          [&](int64_t r) { norms[static_cast<size_t>(r)] = static_cast<float>(std::sqrt(sumOfSquares(x.row(r), x.cols, 0.0))); });
  return norms;
}

}  // namespace headscope::core::cpu
