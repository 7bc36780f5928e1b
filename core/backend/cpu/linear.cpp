#include <cblas.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "core/backend/cpu/kernels.h"
#include "core/backend/cpu/vector_math.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

// Wide tiles, because sgemm packs both factors anew for each; narrow ones for many inputs, so that a tile takes some 20 ms at most.
// A decoded tile of 1 MB stays in a core's second-level cache while the product reads it.
constexpr int64_t kTokenTile = 512, kDecodedFloats = 262144;
int64_t outputTile(int64_t inputs) { return inputs > 4096 ? 256 : 768; }

/// How a range is cut: `pieces` parts of nearly equal size.
struct Cut {
  int64_t total = 0, pieces = 1;
  int64_t begin(int64_t i) const { return total * i / pieces; }
  int64_t size(int64_t i) const { return begin(i + 1) - begin(i); }
};

Cut cutOutputs(int64_t outputs, int64_t inputs, int64_t tokenPieces) {
  const int64_t tile = outputTile(inputs);
  int64_t pieces = std::max<int64_t>(1, (outputs + tile - 1) / tile);
  // As many pieces as keep all threads busy to the end, unless they would become too narrow for sgemm
  const int64_t threads = threadCount();
  while ((pieces * tokenPieces) % threads != 0 && outputs / (pieces + 1) >= 48) ++pieces;
  return {outputs, pieces};
}

void productNT(ConstMatrixView x, const float* w, int64_t wStride, int64_t outputs, float beta, MatrixView out) {
  const int rows = static_cast<int>(x.rows), inner = static_cast<int>(x.cols);
  if (rows == 1) {
    cblas_sgemv(CblasRowMajor, CblasNoTrans, static_cast<int>(outputs), inner, 1.0f, w, static_cast<int>(wStride), x.data, 1, beta,
                out.data, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, static_cast<int>(outputs), inner, 1.0f, x.data, static_cast<int>(x.stride), w,
              static_cast<int>(wStride), beta, out.data, static_cast<int>(out.stride));
}

void productNN(ConstMatrixView x, const float* w, int64_t wStride, int64_t outputs, float beta, MatrixView out) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(x.rows), static_cast<int>(outputs), static_cast<int>(x.cols),
              1.0f, x.data, static_cast<int>(x.stride), w, static_cast<int>(wStride), beta, out.data, static_cast<int>(out.stride));
}

/// float32 stored [in, out] as one group: usable in place, transposed.
bool isTransposedInPlace(const WeightView& w) {
  return w.isInByOut && w.dtype == DType::F32 && (w.outGroups == 1 || w.outGroupStride == w.outGroupSize) && w.scales == nullptr &&
         reinterpret_cast<std::uintptr_t>(w.data) % alignof(float) == 0;
}

/// Sets or raises out by the bias, so that the products can all add.
void startWithBias(const std::vector<float>& bias, int64_t first, Into into, MatrixView out) {
  for (int64_t n = 0; n < out.rows; ++n) {
    float* row = out.row(n);
    if (bias.empty()) {
      if (into == Into::Replace) std::fill_n(row, out.cols, 0.0f);
    } else if (into == Into::Replace) {
      std::copy_n(bias.data() + first, out.cols, row);
    } else {
      const float* b = bias.data() + first;
#pragma omp simd
      for (int64_t c = 0; c < out.cols; ++c) row[c] += b[c];
    }
  }
}

void scaleRows(float* rows, int64_t count, int64_t width, int64_t stride, const float* factors) {
  for (int64_t r = 0; r < count; ++r) {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) rows[r * stride + c] *= factors[r];
  }
}

/// Decodes the weights of outputs [first, first + count) piece by piece over the inputs and adds the products.
void decodedProduct(ConstMatrixView x, const WeightView& w, int64_t first, int64_t count, const float* rowScale, MatrixView out) {
  const int64_t step = std::min(std::max<int64_t>(256, kDecodedFloats / count), w.inputs());
  Matrix tile(count, step);
  for (int64_t k = 0; k < w.inputs(); k += step) {
    const int64_t inner = std::min(step, w.inputs() - k);
    w.decodeTile(first, count, k, inner, tile.data(), step);
    if (rowScale != nullptr) scaleRows(tile.data(), count, inner, step, rowScale + first);
    productNT(x.colsFrom(k, inner), tile.data(), step, count, 1.0f, out);
  }
}

/// The same for a matrix in memory.
void matrixProduct(ConstMatrixView x, const Matrix& w, int64_t first, int64_t count, const float* rowScale, MatrixView out) {
  if (rowScale == nullptr) {
    productNT(x, w.row(first), w.cols(), count, 1.0f, out);
    return;
  }
  Matrix tile(count, w.cols());
  std::copy_n(w.row(first), count * w.cols(), tile.data());
  scaleRows(tile.data(), count, w.cols(), w.cols(), rowScale + first);
  productNT(x, tile.data(), w.cols(), count, 1.0f, out);
}

}  // namespace

std::vector<Matrix> reduceByAdapter(ConstMatrixView x, const Linear& weights, Job& job) {
  std::vector<Matrix> reduced;
  if (weights.change == nullptr) return reduced;
  for (const LowRank& term : weights.change->terms) {
    Matrix& t = reduced.emplace_back(x.rows, term.down.rows());
    parallelRanges(
        x.rows, 64,
        [&](int64_t begin, int64_t end) {
          productNT(x.rowsFrom(begin, end - begin), term.down.data(), term.down.cols(), term.down.rows(), 0.0f,
                    t.view().rowsFrom(begin, end - begin));
        },
        &job);
  }
  return reduced;
}

void linearTile(ConstMatrixView x, const Linear& weights, const std::vector<Matrix>& reduced, int64_t first, int64_t count, Into into,
                MatrixView out) {
  const LinearChange* change = weights.change.get();
  const float* rowScale = change != nullptr && !change->rowScale.empty() ? change->rowScale.data() : nullptr;
  const WeightView& w = weights.weight;
  startWithBias(weights.bias, first, into, out);
  if (rowScale == nullptr && w.isInPlace()) {
    const ConstMatrixView rows = w.inPlace().rowsFrom(first, count);
    productNT(x, rows.data, rows.stride, count, 1.0f, out);
  } else if (rowScale == nullptr && isTransposedInPlace(w)) {
    const float* stored = reinterpret_cast<const float*>(w.data) + w.inFirst * w.storedCols + w.outFirst + first;
    productNN(x, stored, w.storedCols, count, 1.0f, out);
  } else {
    decodedProduct(x, w, first, count, rowScale, out);
  }
  if (change == nullptr) return;
  for (size_t t = 0; t < change->terms.size(); ++t) matrixProduct(reduced[t], change->terms[t].up, first, count, rowScale, out);
}

void linear(ConstMatrixView x, const Linear& weights, Into into, MatrixView out, Job& job) {
  assert(x.cols == weights.inputs() && out.cols == weights.outputs() && x.rows == out.rows);
  const std::vector<Matrix> reduced = reduceByAdapter(x, weights, job);
  const Cut tokens{x.rows, std::max<int64_t>(1, (x.rows + kTokenTile - 1) / kTokenTile)};
  const Cut outputs = cutOutputs(weights.outputs(), weights.inputs(), tokens.pieces);
  parallelFor(
      outputs.pieces * tokens.pieces,
      [&](int64_t i) {
        const int64_t o = i / tokens.pieces, t = i % tokens.pieces;
        const int64_t firstToken = tokens.begin(t), count = tokens.size(t);
        std::vector<Matrix> part;  // the token tile's rows of `reduced`
        for (const Matrix& r : reduced) {
          Matrix& p = part.emplace_back(count, r.cols());
          std::copy_n(r.row(firstToken), p.size(), p.data());
        }
        linearTile(x.rowsFrom(firstToken, count), weights, part, outputs.begin(o), outputs.size(o), into,
                   out.rowsFrom(firstToken, count).colsFrom(outputs.begin(o), outputs.size(o)));
      },
      &job);
}

void embed(const WeightView& table, std::span<const int32_t> ids, float scale, Into into, MatrixView out, Job& job) {
  assert(static_cast<int64_t>(ids.size()) == out.rows && table.inputs() == out.cols);
  parallelRanges(
      out.rows, 16,
      [&](int64_t begin, int64_t end) {
        std::vector<float> decoded(static_cast<size_t>(out.cols));
        for (int64_t n = begin; n < end; ++n) {
          table.decodeRows(ids[static_cast<size_t>(n)], 1, decoded.data(), out.cols);
          float* row = out.row(n);
          const float kept = into == Into::Add ? 1.0f : 0.0f;
          for (int64_t c = 0; c < out.cols; ++c) row[c] = scale * decoded[static_cast<size_t>(c)] + (kept > 0 ? row[c] : 0.0f);
        }
      },
      &job);
}

}  // namespace headscope::core::cpu
