// Tiles of one head's map: bands of 64 queries against blocks of 512 keys, weights from the row statistics, pooled at once.
#include <algorithm>
#include <cassert>
#include <cmath>

#include "core/backend/cpu/attention_kernels.h"
#include "core/base/parallel.h"

namespace headscope::core::cpu {
namespace {

constexpr int64_t kQueries = 64, kKeys = 512;

/// Entries [first, first + count) of one side that a range of cells covers.
struct Span {
  int64_t first = 0, count = 0;
  int64_t end() const { return first + count; }
};

Span entriesOf(int64_t firstCell, int64_t cells, int64_t level, int64_t size) {
  const int64_t first = firstCell << level, end = std::min(size, (firstCell + cells) << level);
  return {first, std::max<int64_t>(0, end - first)};
}

/// Pools the rows of a tile of weights [rows, keys] into one row of `keys` numbers.
void poolRows(const float* tile, int64_t rows, int64_t keys, int64_t stride, Pooling pooling, float* out) {
  std::copy_n(tile, keys, out);
  for (int64_t r = 1; r < rows; ++r) {
    const float* row = tile + r * stride;
    if (pooling == Pooling::Mean) {
#pragma omp simd
      for (int64_t c = 0; c < keys; ++c) out[c] += row[c];
    } else {  // a NaN stays: it compares false with everything
#pragma omp simd
      for (int64_t c = 0; c < keys; ++c) out[c] = out[c] >= row[c] ? out[c] : (out[c] != out[c] ? out[c] : row[c]);
    }
  }
}

/// Pools groups of 2^level columns into cells, which hold what earlier parts gave.
void poolColumns(const float* row, int64_t keys, int64_t firstKey, int64_t level, int64_t firstCell, Pooling pooling, float* cells) {
  for (int64_t c = 0; c < keys;) {
    const int64_t cell = (firstKey + c) >> level;
    const int64_t end = std::min(keys, ((cell + 1) << level) - firstKey);
    float& value = cells[cell - firstCell];
    if (pooling == Pooling::Mean) {
      double sum = 0;
      for (; c < end; ++c) sum += row[c];
      value += static_cast<float>(sum);
    } else {
      for (; c < end; ++c) value = value >= row[c] || value != value ? value : row[c];
    }
  }
}

/// Adds the queries [first, first + count), all of one row of cells at this level, to that row.
void addQueries(const HeadView& head, const float* logSumExp, const TileRequest& request, Span keys, int64_t first, int64_t count,
                float* cells, Job& job) {
  Matrix tile(count, kKeys), pooled(1, kKeys);
  const KeyRange seen = visibleKeys(head.rule, first, count, head.count());
  const int64_t begin = std::max(keys.first, seen.begin), end = std::min(keys.end(), seen.end);
  for (int64_t key = begin; key < end; key += kKeys) {
    job.checkpoint();
    const int64_t width = std::min(kKeys, end - key), side = std::min<int64_t>(count, int64_t{1} << std::min<int64_t>(request.level, 62));
    weightTile(head, logSumExp, first, count, key, width, tile.data(), kKeys);
    for (int64_t r = 0; r < count; r += side) {
      float* row = cells + (r / side) * request.cols;
      const int64_t rows = std::min(side, count - r);
      if (request.level == 0) {
        std::copy_n(tile.row(r), width, row + (key - request.firstCol));
        continue;
      }
      poolRows(tile.row(r), rows, width, kKeys, request.pooling, pooled.data());
      poolColumns(pooled.data(), width, key, request.level, request.firstCol, request.pooling, row);
    }
  }
}

/// Turns sums into means over the entries of each cell that lie inside the map.
void divideByEntries(Matrix& cells, const TileRequest& request, int64_t size) {
  for (int64_t r = 0; r < cells.rows(); ++r) {
    const int64_t rows = entriesOf(request.firstRow + r, 1, request.level, size).count;
    for (int64_t c = 0; c < cells.cols(); ++c) {
      const int64_t cols = entriesOf(request.firstCol + c, 1, request.level, size).count;
      cells(r, c) = static_cast<float>(cells(r, c) / (static_cast<double>(rows) * static_cast<double>(cols)));
    }
  }
}

/// Levels whose cells are at most a band high: a band fills whole rows of cells.
void fillByBands(const HeadView& head, const float* logSumExp, const TileRequest& request, Span rows, Span keys, Matrix& cells, Job& job) {
  const int64_t side = int64_t{1} << request.level, perBand = kQueries / side, bands = (request.rows + perBand - 1) / perBand;
  parallelFor(
      bands,
      [&](int64_t band) {
        const int64_t first = rows.first + band * kQueries, count = std::min(kQueries, rows.end() - first);
        if (count > 0) addQueries(head, logSumExp, request, keys, first, count, cells.row(band * perBand), job);
      },
      &job);
}

/// Higher levels: several bands share a row of cells; each fills its own copy, which are then joined.
void fillByParts(const HeadView& head, const float* logSumExp, const TileRequest& request, Span rows, Span keys, Matrix& cells, Job& job) {
  const int64_t bands = (rows.count + kQueries - 1) / kQueries;
  Matrix parts = Matrix::zeros(bands, request.cols);
  parallelFor(
      bands,
      [&](int64_t band) {
        const int64_t first = rows.first + band * kQueries, count = std::min(kQueries, rows.end() - first);
        addQueries(head, logSumExp, request, keys, first, count, parts.row(band), job);
      },
      &job);
  for (int64_t band = 0; band < bands; ++band) {
    float* row = cells.row(((rows.first + band * kQueries) >> request.level) - request.firstRow);
    const float* part = parts.row(band);
    for (int64_t c = 0; c < request.cols; ++c) {
      if (request.pooling == Pooling::Mean) {
        row[c] += part[c];
      } else {
        row[c] = row[c] >= part[c] || row[c] != row[c] ? row[c] : part[c];
      }
    }
  }
}

}  // namespace

Matrix mapTile(const HeadView& head, const float* logSumExp, const TileRequest& request, Job& job) {
  Matrix cells = Matrix::zeros(request.rows, request.cols);
  const Span rows = entriesOf(request.firstRow, request.rows, request.level, head.count());
  const Span keys = entriesOf(request.firstCol, request.cols, request.level, head.count());
  if ((int64_t{1} << request.level) <= kQueries) {
    fillByBands(head, logSumExp, request, rows, keys, cells, job);
  } else {
    fillByParts(head, logSumExp, request, rows, keys, cells, job);
  }
  if (request.pooling == Pooling::Mean && request.level > 0) divideByEntries(cells, request, head.count());
  return cells;
}

std::vector<float> columnMass(const HeadView& head, const float* logSumExp, Job& job) {
  const int64_t count = head.count(), blocks = (count + kKeys - 1) / kKeys;
  std::vector<float> mass(static_cast<size_t>(count));
  parallelFor(
      blocks,
      [&](int64_t block) {
        const int64_t key = block * kKeys, width = std::min(kKeys, count - key);
        Matrix tile(kQueries, kKeys), band(1, kKeys);
        std::vector<double> sums(static_cast<size_t>(width), 0.0);
        for (int64_t query = 0; query < count; query += kQueries) {
          const int64_t queries = std::min(kQueries, count - query);
          const KeyRange seen = visibleKeys(head.rule, query, queries, count);
          if (seen.end <= key || seen.begin >= key + width) continue;
          job.checkpoint();
          weightTile(head, logSumExp, query, queries, key, width, tile.data(), kKeys);
          poolRows(tile.data(), queries, width, kKeys, Pooling::Mean, band.data());
          for (int64_t c = 0; c < width; ++c) sums[static_cast<size_t>(c)] += band(0, c);
        }
        for (int64_t c = 0; c < width; ++c) mass[static_cast<size_t>(key + c)] = static_cast<float>(sums[static_cast<size_t>(c)]);
      },
      &job);
  return mass;
}

}  // namespace headscope::core::cpu
