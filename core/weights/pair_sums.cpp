#include "core/weights/pair_sums.h"

#include <cblas.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/tensor/matrix_unit.h"

namespace headscope::core {
namespace {

/// Gram tiles [rows of a, rows of b] of every head, one a row.
void formTiles(const std::vector<ThinRows>& a, const std::vector<ThinRows>& b, int64_t aCol, int64_t rows, int64_t aStride, int64_t bCol,
               int64_t cols, int64_t bStride, Matrix& tiles, const Job& job) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (i % 16 == 0) job.checkpoint();
    float* tile = tiles.data() + static_cast<int64_t>(i) * rows * cols;
    if (a[i].count == 0) {
      std::fill_n(tile, rows * cols, 0.0F);
      continue;
    }
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, static_cast<int>(rows), static_cast<int>(cols), static_cast<int>(a[i].count), 1.0F,
                a[i].rows + aCol, static_cast<int>(aStride), b[i].rows + bCol, static_cast<int>(bStride), 0.0F, tile,
                static_cast<int>(cols));
  }
}

/// What one tile needs, kept from tile to tile: fresh pages cost as much as the products.
struct Buffers {
  Matrix writers, readers;  // [heads, area], packed at the front
  Matrix part;              // [writers, readers] of the largest group
};

class TilePairs {
 public:
  TilePairs(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job)
      : a_(a), b_(b), plan_(plan), sums_(sums), job_(job) {}

  void run() {
    struct Tile {
      int64_t row, col;
    };
    std::vector<Tile> tiles;
    for (int64_t r = 0; r < a_.width; r += plan_.side) {
      for (int64_t c = &a_ == &b_ ? r : 0; c < b_.width; c += plan_.side) tiles.push_back({r, c});
    }
    parallelFor(
        static_cast<int64_t>(tiles.size()),
        [&](int64_t i) {
          const auto [row, col] = tiles[static_cast<size_t>(i)];
          std::unique_ptr<Buffers> buffers = borrow();
          tile(row, col, *buffers);
          std::lock_guard lock(mutex_);
          spare_.push_back(std::move(buffers));
        },
        &job_);
  }

 private:
  std::unique_ptr<Buffers> borrow() {
    {
      std::lock_guard lock(mutex_);
      if (!spare_.empty()) {
        auto buffers = std::move(spare_.back());
        spare_.pop_back();
        return buffers;
      }
    }
    int64_t largest = 0;
    for (const PairGroup& g : plan_.groups) largest = std::max(largest, g.writers * g.readers);
    const int64_t area = plan_.side * plan_.side;
    return std::make_unique<Buffers>(Buffers{Matrix(static_cast<int64_t>(a_.writers.size()), area),
                                             Matrix(static_cast<int64_t>(a_.readers.size()), area), Matrix(1, largest)});
  }

  void tile(int64_t row, int64_t col, Buffers& buffers) {
    const int64_t rows = std::min(plan_.side, a_.width - row), cols = std::min(plan_.side, b_.width - col), area = rows * cols;
    const double weight = &a_ == &b_ && row == col ? 1.0 : 2.0;
    formTiles(a_.writers, b_.writers, row, rows, a_.stride, col, cols, b_.stride, buffers.writers, job_);
    formTiles(a_.readers, b_.readers, row, rows, a_.stride, col, cols, b_.stride, buffers.readers, job_);
    for (const PairGroup& g : plan_.groups) {
      job_.checkpoint();
      if (g.writers == 0 || g.readers == 0) continue;
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(g.writers), static_cast<int>(g.readers), static_cast<int>(area),
                  1.0F, buffers.writers.data() + g.firstWriter * area, static_cast<int>(area),
                  buffers.readers.data() + g.firstReader * area, static_cast<int>(area), 0.0F, buffers.part.data(),
                  static_cast<int>(g.readers));
      std::lock_guard lock(mutex_);
      for (int64_t w = 0; w < g.writers; ++w) {
        double* to = sums_.data() + (g.firstWriter + w) * static_cast<int64_t>(a_.readers.size()) + g.firstReader;
        const float* from = buffers.part.data() + w * g.readers;
        for (int64_t r = 0; r < g.readers; ++r) to[r] += weight * from[r];
      }
    }
    std::lock_guard lock(mutex_);
    if (plan_.progress) plan_.progress(weight * static_cast<double>(area));
  }

  const PairStrip &a_, &b_;
  const PairPlan& plan_;
  std::span<double> sums_;
  const Job& job_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Buffers>> spare_;
};

}  // namespace

PairRoute pairRoute(int64_t modelWidth) {
  constexpr int64_t kWide = 512;
  return modelWidth >= kWide && MatrixUnit::isThere() ? PairRoute::MatrixUnit : PairRoute::Blas;
}

void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job, PairRoute route,
                 PairScratch* scratch) {
  if (route == PairRoute::MatrixUnit) {
    PairScratch own;
    addPairSumsOnUnit(a, b, plan, sums, scratch != nullptr ? *scratch : own, job);
  } else {
    TilePairs(a, b, plan, sums, job).run();
  }
}

double pairTileBytes(PairRoute route, double heads, int64_t side) {
  if (route == PairRoute::MatrixUnit) return unitTileBytes(heads, side);
  return heads * static_cast<double>(side * side) * sizeof(float) * threadCount();
}

}  // namespace headscope::core
