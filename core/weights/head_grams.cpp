#include "core/weights/head_grams.h"

#include <algorithm>
#include <cassert>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/weights/head_weights.h"
#include "core/weights/row_panels.h"

namespace headscope::core {
namespace {

constexpr int64_t kColumns = RowPanels::kColumns;

/// Columns [first, first + count) of the head's factor as stored: [k, count], or [count, k] of the output map.
ConstMatrixView decodeChunk(const HeadMap& map, int64_t head, int64_t first, int64_t count, float* memory) {
  const MatrixView chunk = map.isOutput ? MatrixView{memory, count, map.width, map.width} : MatrixView{memory, map.width, count, count};
  if (map.isOutput) {
    decodeTile(*map.linear, first, count, head * map.width, chunk);
  } else {
    decodeTile(*map.linear, head * map.width, map.width, first, chunk);
  }
  return chunk;
}

void scaleBy(DoubleMatrix& m, const std::vector<float>& rows, const std::vector<float>& cols) {
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < m.cols; ++j) {
      if (!rows.empty()) m(i, j) *= static_cast<double>(rows[static_cast<size_t>(i)]);
      if (!cols.empty()) m(i, j) *= static_cast<double>(cols[static_cast<size_t>(j)]);
    }
  }
}

}  // namespace

HeadGrams headGrams(const HeadMap& map, const Job& job, const Matrix* directions) {
  const int64_t k = map.width, d = map.depth(), chunks = (d + kColumns - 1) / kColumns;
  const int64_t r = directions != nullptr ? directions->rows() : 0;
  assert(directions == nullptr || directions->cols() == d);
  HeadGrams out;
  out.gram.resize(static_cast<size_t>(map.heads));
  if (directions != nullptr) out.cross.resize(static_cast<size_t>(map.heads));
  if (map.isCentred) out.means.assign(static_cast<size_t>(map.heads * k), 0.0F);
  std::vector<RowPanels> along;  // the directions' chunks, shared by the heads
  std::vector<double> directionSums(static_cast<size_t>(r), 0.0);
  if (r > 0) {
    for (int64_t c = 0; c < chunks; ++c) along.emplace_back(r);
    parallelFor(
        chunks,
        [&](int64_t c) {
          along[static_cast<size_t>(c)].pack(directions->view().colsFrom(c * kColumns, std::min(kColumns, d - c * kColumns)));
        },
        &job);
    for (const RowPanels& chunk : along) chunk.addRowSums(directionSums.data());
  }
  const std::vector<float> none;
  const std::vector<float>& headGain = map.headGain != nullptr ? *map.headGain : none;
  parallelFor(
      map.heads,
      [&](int64_t h) {
        DoubleMatrix& g = out.gram[static_cast<size_t>(h)] = DoubleMatrix(k, k);
        DoubleMatrix* cross = directions != nullptr ? &out.cross[static_cast<size_t>(h)] : nullptr;
        if (cross != nullptr) *cross = DoubleMatrix(r, k);
        if (r == 0) cross = nullptr;
        std::vector<double> sums(static_cast<size_t>(k), 0.0);
        RowPanels panels(k);
        Matrix memory(k, std::min(kColumns, d));
        for (int64_t c = 0; c < chunks; ++c) {
          const int64_t first = c * kColumns, count = std::min(kColumns, d - first);
          const ConstMatrixView chunk = decodeChunk(map, h, first, count, memory.data());
          if (map.isOutput) {
            panels.packTransposed(chunk);
          } else {
            panels.pack(chunk);
          }
          if (map.modelGain != nullptr && !map.modelGain->empty()) panels.scaleColumns(map.modelGain->data() + first);
          if (map.isCentred) panels.addRowSums(sums.data());
          addGram(panels, g);
          if (cross != nullptr) addCross(along[static_cast<size_t>(c)], panels, *cross);
        }
        mirrorUpper(g);
        if (map.isCentred) {  // (F - m 1^T)(F - m 1^T)^T = F F^T - d m m^T, m the row means
          for (int64_t i = 0; i < k; ++i) {
            for (int64_t j = 0; j < k; ++j) g(i, j) -= sums[static_cast<size_t>(i)] * sums[static_cast<size_t>(j)] / static_cast<double>(d);
            for (int64_t a = 0; a < r; ++a)
              (*cross)(a, i) -= directionSums[static_cast<size_t>(a)] * sums[static_cast<size_t>(i)] / static_cast<double>(d);
            out.means[static_cast<size_t>(h * k + i)] = static_cast<float>(sums[static_cast<size_t>(i)] / static_cast<double>(d));
          }
        }
        scaleBy(g, headGain, headGain);
        if (cross != nullptr) scaleBy(*cross, none, headGain);
      },
      &job);
  return out;
}

Matrix headRows(const HeadMap& map, int64_t head) {
  const int64_t k = map.width, d = map.depth();
  Matrix memory(k, d);
  const ConstMatrixView stored = decodeChunk(map, head, 0, d, memory.data());
  Matrix rows(k, d);
  for (int64_t i = 0; i < k; ++i) {
    double sum = 0;
    for (int64_t c = 0; c < d; ++c) {
      const float gain = map.modelGain != nullptr && !map.modelGain->empty() ? (*map.modelGain)[static_cast<size_t>(c)] : 1.0F;
      rows(i, c) = (map.isOutput ? stored(c, i) : stored(i, c)) * gain;
      sum += rows(i, c);
    }
    const float mean = map.isCentred ? static_cast<float>(sum / static_cast<double>(d)) : 0.0F;
    const float gain = map.headGain != nullptr && !map.headGain->empty() ? (*map.headGain)[static_cast<size_t>(i)] : 1.0F;
    for (int64_t c = 0; c < d; ++c) rows(i, c) = (rows(i, c) - mean) * gain;
  }
  return rows;
}

}  // namespace headscope::core
