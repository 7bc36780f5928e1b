#include "core/weights/square_product.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "core/backend/backend.h"
#include "core/backend/device_fault.h"
#include "core/base/job.h"
#include "core/base/parallel.h"

namespace headscope::core {
namespace {

constexpr int64_t kLanes = SquareProduct::kVectors, kPanel = 16, kPieces = 16, kRows = 8;
typedef float Lane __attribute__((vector_size(64)));  // one number of every vector

Lane load(const float* from) {
  Lane lane;
  std::memcpy(&lane, from, sizeof lane);
  return lane;
}
void store(float* to, const Lane& lane) { std::memcpy(to, &lane, sizeof lane); }

/// inner [16 columns] = panel^T x, x [rows, 16 vectors].
void readPanel(const float* panel, const float* x, int64_t rows, Lane* inner) {
  Lane sums[kPanel] = {};
  for (int64_t r = 0; r < rows; ++r) {
    const Lane at = load(x + r * kLanes);
    for (int64_t c = 0; c < kPanel; ++c) sums[c] += at * panel[r * kPanel + c];
  }
  std::copy_n(sums, kPanel, inner);
}

/// out [rows, 16 vectors] += panel inner. What follows the panel, which is read next, is fetched meanwhile.
void writePanel(const float* panel, const Lane* inner, int64_t rows, float* out) {
  Lane columns[kPanel];
  std::copy_n(inner, kPanel, columns);
  int64_t r = 0;
  for (; r + kRows <= rows; r += kRows) {
    for (int64_t i = 0; i < kRows; ++i) __builtin_prefetch(panel + (rows + r + i) * kPanel, 0, 2);
    Lane sums[kRows];
    for (int64_t i = 0; i < kRows; ++i) sums[i] = load(out + (r + i) * kLanes);
    for (int64_t c = 0; c < kPanel; ++c) {
      for (int64_t i = 0; i < kRows; ++i) sums[i] += columns[c] * panel[(r + i) * kPanel + c];
    }
    for (int64_t i = 0; i < kRows; ++i) store(out + (r + i) * kLanes, sums[i]);
  }
  for (; r < rows; ++r) {
    Lane sum = load(out + r * kLanes);
    for (int64_t c = 0; c < kPanel; ++c) sum += columns[c] * panel[r * kPanel + c];
    store(out + r * kLanes, sum);
  }
}

}  // namespace

SquareProduct::SquareProduct(ConstMatrixView w, const Job& job, Backend* backend)
    : w_(w),
      rows_(w.rows),
      panels_((w.cols + kPanel - 1) / kPanel),
      backend_(backend != nullptr && backend->supports(Op::SquareProduct) ? backend : nullptr) {
  if (backend_ != nullptr) {
    try {
      onDevice_ = backend_->upload(w);
      return;
    } catch (const DeviceFault&) {
      backend_ = nullptr;
    }
  }
  copyPanels(job);
}

void SquareProduct::copyPanels(const Job& job) const {
  const ConstMatrixView w = w_;
  values_ = Matrix(panels_ * rows_, kPanel);
  constexpr int64_t kBand = 64;  // rows of a piece: read in order, written in short runs
  parallelFor((rows_ + kBand - 1) / kBand,
              [&](int64_t band) {
                for (int64_t p = 0; p < panels_; ++p) {
                  const int64_t count = std::min(kPanel, w.cols - p * kPanel);
                  for (int64_t r = band * kBand; r < std::min(rows_, (band + 1) * kBand); ++r) {
                    float* to = values_.data() + (p * rows_ + r) * kPanel;
                    std::copy_n(w.row(r) + p * kPanel, count, to);
                    std::fill(to + count, to + kPanel, 0.0F);
                  }
                }
              },
              &job);
}

DoubleMatrix SquareProduct::operator()(const DoubleMatrix& x, const Job& job) const {
  assert(x.cols == rows_);
  if (backend_ != nullptr) {
    try {
      const Tensor from = backend_->upload(x.toFloat()), to = backend_->allocate(x.rows, rows_);
      backend_->squareProduct(from, onDevice_, to, job);
      return DoubleMatrix::from(backend_->download(to));
    } catch (const DeviceFault&) {  // the device's copy was lost with it
      backend_ = nullptr;
      copyPanels(job);
    }
  }
  DoubleMatrix out(x.rows, rows_);
  const int64_t pieces = std::min(kPieces, panels_);
  Matrix turned(rows_, kLanes), sums(pieces * rows_, kLanes);
  for (int64_t first = 0; first < x.rows; first += kLanes) {
    const int64_t count = std::min(kLanes, x.rows - first);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t v = 0; v < kLanes; ++v) turned(r, v) = v < count ? static_cast<float>(x(first + v, r)) : 0.0F;
    }
    parallelFor(
        pieces,
        [&](int64_t piece) {
          float* own = sums.row(piece * rows_);
          std::fill_n(own, rows_ * kLanes, 0.0F);
          for (int64_t p = piece * panels_ / pieces; p < (piece + 1) * panels_ / pieces; ++p) {
            const float* panel = values_.data() + p * rows_ * kPanel;
            Lane inner[kPanel];
            readPanel(panel, turned.data(), rows_, inner);
            writePanel(panel, inner, rows_, own);
          }
        },
        &job);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t v = 0; v < count; ++v) {
        double sum = 0;
        for (int64_t piece = 0; piece < pieces; ++piece) sum += static_cast<double>(sums(piece * rows_ + r, v));
        out(first + v, r) = sum;
      }
    }
  }
  return out;
}

}  // namespace headscope::core
