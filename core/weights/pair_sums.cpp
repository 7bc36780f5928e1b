#include "core/weights/pair_sums.h"

#include <algorithm>
#include <vector>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/tensor/matrix.h"
#include "core/tensor/matrix_unit.h"

namespace headscope::core {
namespace {

constexpr int64_t kSide = MatrixTile::kSide, kDepth = MatrixTile::kDepth;
constexpr int64_t kBlock = 2 * kSide;                 // heads of a block of pairs; coordinates of a block of a Gram tile
constexpr int64_t kLines = kBlock * kBlock / kDepth;  // tiles of such a block's entries
constexpr int64_t kChunk = 4;                         // tiles of a product's step: a block's readers stay in the first-level cache
constexpr int64_t kChunkRows = kBlock * kChunk / kLines;

int64_t blocksOf(int64_t count) { return (count + kBlock - 1) / kBlock; }

using Tiles = std::vector<MatrixTile>;

/// Columns [first, first + count) of a thin matrix as right tiles, [column blocks of 16, depth].
void packThin(TileNumbers numbers, const ThinRows& thin, int64_t stride, int64_t first, int64_t count, int64_t depth, Tiles& to) {
  to.resize(static_cast<size_t>(2 * blocksOf(count) * depth));
  packColumns(numbers, thin.rows + first, stride, thin.count, count, depth, to.data());
}

/// What forming a Gram tile needs, kept from head to head.
struct FormBuffers {
  Tiles left, right;
  Matrix entries{kBlock, kBlock};
};

/// Heads whose thin matrices two strips hold, and their Gram entries of one tile.
class GramPanels {
 public:
  enum class Form { Left, Right };
  GramPanels(const std::vector<ThinRows>& a, const std::vector<ThinRows>& b, Form form, TileNumbers numbers, Tiles& tiles)
      : a_(a), b_(b), form_(form), numbers_(numbers), tiles_(tiles) {}

  int64_t heads() const { return static_cast<int64_t>(a_.size()); }
  int64_t panels() const { return 2 * blocksOf(heads()); }  // of 16 heads
  int64_t chunks() const { return chunks_; }
  const MatrixTile* chunk(int64_t panel, int64_t index) const { return tiles_.data() + index * chunkSize() + panel * kChunk; }

  void resize(int64_t rows, int64_t cols) {
    chunks_ = blocksOf(rows) * blocksOf(cols) * kLines / kChunk;
    tiles_.resize(std::max(tiles_.size(), static_cast<size_t>(chunks_ * chunkSize())));
  }
  /// Entries of a panel's 16 heads: coordinates [row, row + rows) of the first strip by [col, col + cols) of the second.
  void form(int64_t panel, int64_t row, int64_t rows, int64_t aStride, int64_t col, int64_t cols, int64_t bStride, FormBuffers& buffers,
            const MatrixUnit& unit) {
    for (int64_t line = 0; line < kSide; ++line) {
      const int64_t h = panel * kSide + line;
      if (h < heads() && a_[static_cast<size_t>(h)].count > 0) {
        const ThinRows &x = a_[static_cast<size_t>(h)], &y = b_[static_cast<size_t>(h)];
        const int64_t depth = (x.count + kDepth - 1) / kDepth;
        packThin(numbers_, x, aStride, row, rows, depth, buffers.left);
        turnTiles(static_cast<int64_t>(buffers.left.size()), buffers.left.data());
        packThin(numbers_, y, bStride, col, cols, depth, buffers.right);
        formHead(panel, line, blocksOf(rows), blocksOf(cols), depth, buffers, unit);
      } else {
        for (int64_t c = 0; c < chunks_; ++c) clearLines(kChunk, line, own(panel, c));
      }
    }
    for (int64_t c = 0; form_ == Form::Right && c < chunks_; ++c) turnTiles(kChunk, own(panel, c));
  }

 private:
  /// Tiles from a chunk of all panels to the next. One chunk more than there are, so that a panel's chunks lie in different sets of a
  /// cache.
  int64_t chunkSize() const { return (panels() + 1) * kChunk; }
  MatrixTile* own(int64_t panel, int64_t chunk) { return tiles_.data() + chunk * chunkSize() + panel * kChunk; }

  void formHead(int64_t panel, int64_t line, int64_t rowBlocks, int64_t colBlocks, int64_t depth, FormBuffers& buffers,
                const MatrixUnit& unit) {
    int64_t chunk = 0;
    for (int64_t i = 0; i < rowBlocks; ++i) {
      for (int64_t j = 0; j < colBlocks; ++j) {
        unit.multiply(numbers_, buffers.left.data() + 2 * i * depth, depth, buffers.right.data() + 2 * j * depth, depth, depth,
                      buffers.entries.data(), kBlock, false);
        for (int64_t r = 0; r < kBlock; r += kChunkRows) {
          packLines(numbers_, buffers.entries.row(r), kBlock, kChunkRows, 2, line, own(panel, chunk++));
        }
      }
    }
  }

  const std::vector<ThinRows>&a_, &b_;
  Form form_;
  TileNumbers numbers_;
  int64_t chunks_ = 0;
  Tiles& tiles_;  // [chunks, panels + 1, kChunk]
};

class TilePairs {
 public:
  TilePairs(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, TileNumbers numbers, PairScratch& scratch,
            const Job& job)
      : a_(a),
        b_(b),
        plan_(plan),
        sums_(sums),
        numbers_(numbers),
        job_(job),
        readers_(a.readers, b.readers, GramPanels::Form::Left, numbers, scratch.readers),
        writers_(a.writers, b.writers, GramPanels::Form::Right, numbers, scratch.writers),
        isWanted_(static_cast<size_t>(readerBlocks() * writerBlocks()), false) {
    for (const PairGroup& g : plan.groups) {
      if (g.readers == 0 || g.writers == 0) continue;
      for (int64_t r = g.firstReader / kBlock; r < blocksOf(g.firstReader + g.readers); ++r) {
        for (int64_t w = g.firstWriter / kBlock; w < blocksOf(g.firstWriter + g.writers); ++w) isWanted_[at(r, w)] = true;
      }
    }
    while (pieceBlocks_ > 2 && readerBlocks() * writerBlocks() < 4 * threadCount() * pieceBlocks_ * pieceBlocks_) pieceBlocks_ /= 2;
  }

  void run() {
    for (int64_t r = 0; r < a_.width; r += plan_.side) {
      for (int64_t c = &a_ == &b_ ? r : 0; c < b_.width; c += plan_.side) tile(r, c);
    }
  }

 private:
  int64_t readerBlocks() const { return blocksOf(readers_.heads()); }
  int64_t writerBlocks() const { return blocksOf(writers_.heads()); }
  size_t at(int64_t readerBlock, int64_t writerBlock) const { return static_cast<size_t>(readerBlock * writerBlocks() + writerBlock); }

  void tile(int64_t row, int64_t col) {
    const int64_t rows = std::min(plan_.side, a_.width - row), cols = std::min(plan_.side, b_.width - col);
    const double weight = &a_ == &b_ && row == col ? 1.0 : 2.0;
    readers_.resize(rows, cols), writers_.resize(rows, cols);
    parallelRanges(
        readers_.panels() + writers_.panels(), 1,
        [&](int64_t begin, int64_t end) {
          const MatrixUnit unit;
          FormBuffers buffers;
          for (int64_t i = begin; i < end; ++i) {
            job_.checkpoint();
            const bool isReader = i < readers_.panels();
            (isReader ? readers_ : writers_)
                .form(isReader ? i : i - readers_.panels(), row, rows, a_.stride, col, cols, b_.stride, buffers, unit);
          }
        },
        &job_);
    const int64_t across = (writerBlocks() + pieceBlocks_ - 1) / pieceBlocks_, down = (readerBlocks() + pieceBlocks_ - 1) / pieceBlocks_;
    parallelFor(
        down * across, [&](int64_t i) { piece(i / across * pieceBlocks_, i % across * pieceBlocks_, weight); }, &job_);
    if (plan_.progress) plan_.progress(weight * static_cast<double>(rows * cols));
  }

  /// All wanted pairs of some blocks of readers with some of writers.
  void piece(int64_t firstReader, int64_t firstWriter, double weight) {
    const int64_t lastReader = std::min(firstReader + pieceBlocks_, readerBlocks()),
                  lastWriter = std::min(firstWriter + pieceBlocks_, writerBlocks());
    const auto eachBlock = [&](const auto& body) {
      for (int64_t r = firstReader; r < lastReader; ++r) {
        for (int64_t w = firstWriter; w < lastWriter; ++w) {
          if (isWanted_[at(r, w)]) body(r, w);
        }
      }
    };
    Matrix found(pieceBlocks_ * kBlock, pieceBlocks_ * kBlock);
    const auto foundOf = [&](int64_t r, int64_t w) { return found.row((r - firstReader) * kBlock) + (w - firstWriter) * kBlock; };
    const MatrixUnit unit;
    for (int64_t c = 0; c < readers_.chunks(); ++c) {
      job_.checkpoint();
      eachBlock([&](int64_t r, int64_t w) {
        unit.multiply(numbers_, readers_.chunk(2 * r, c), kChunk, writers_.chunk(2 * w, c), kChunk, kChunk, foundOf(r, w), found.cols(),
                      c > 0);
      });
    }
    for (const PairGroup& g : plan_.groups) {
      const int64_t r0 = std::max(g.firstReader, firstReader * kBlock), r1 = std::min(g.firstReader + g.readers, lastReader * kBlock),
                    w0 = std::max(g.firstWriter, firstWriter * kBlock), w1 = std::min(g.firstWriter + g.writers, lastWriter * kBlock);
      for (int64_t w = w0; w < w1; ++w) {
        double* to = sums_.data() + w * readers_.heads();
        for (int64_t r = r0; r < r1; ++r) to[r] += weight * static_cast<double>(found(r - firstReader * kBlock, w - firstWriter * kBlock));
      }
    }
  }

  const PairStrip &a_, &b_;
  const PairPlan& plan_;
  std::span<double> sums_;
  TileNumbers numbers_;
  const Job& job_;
  GramPanels readers_, writers_;
  std::vector<bool> isWanted_;  // [reader blocks, writer blocks]
  int64_t pieceBlocks_ = 12;    // a side of a piece
};

}  // namespace

TileNumbers pairNumbers(int64_t modelWidth) {
  constexpr int64_t kWide = 512;
  return modelWidth >= kWide && MatrixUnit::isThere() ? TileNumbers::Parts : TileNumbers::Whole;
}

void addPairSums(const PairStrip& a, const PairStrip& b, const PairPlan& plan, std::span<double> sums, const Job& job, TileNumbers numbers,
                 PairScratch* scratch) {
  PairScratch own;
  TilePairs(a, b, plan, sums, numbers, scratch != nullptr ? *scratch : own, job).run();
}

double pairTileBytes(double heads, int64_t side) {
  const double entries = static_cast<double>(blocksOf(side) * blocksOf(side) * kBlock * kBlock);
  return (heads + 2 * kBlock) * entries * sizeof(MatrixTile) / (kSide * kDepth);
}

}  // namespace headscope::core
