#include "core/weights/head_grams.h"

#include <algorithm>
#include <cassert>

#include "core/base/job.h"
#include "core/base/parallel.h"
#include "core/tensor/dtype.h"
#include "core/weights/byte_panels.h"
#include "core/weights/head_weights.h"
#include "core/weights/row_panels.h"
#include "core/weights/small_product.h"

namespace headscope::core {
namespace {

constexpr int64_t kColumns = RowPanels::kColumns;

/// Columns [first, first + count) of some heads' factors as stored: [heads * k, count], or [count, heads * k] of the output map.
ConstMatrixView decodeChunk(const HeadMap& map, int64_t head, int64_t heads, int64_t first, int64_t count, float* memory) {
  const int64_t rows = heads * map.width;
  const MatrixView chunk = map.isOutput ? MatrixView{memory, count, rows, rows} : MatrixView{memory, rows, count, count};
  if (map.isOutput) {
    decodeTile(*map.linear, first, count, head * map.width, chunk);
  } else {
    decodeTile(*map.linear, head * map.width, rows, first, chunk);
  }
  return chunk;
}

/// What is decoded at once. Stored rows are walked in long runs, as short ones wait for memory: some columns of one head, or some heads
/// of the output map, whose rows hold all of them.
struct DecodePlan {
  int64_t heads = 1, columns = 0;
  explicit DecodePlan(const HeadMap& map) : columns(map.isOutput ? kColumns : 4 * kColumns) {
    if (map.isOutput) heads = std::clamp<int64_t>(map.heads / (4 * threadCount()), 1, 4);
    columns = std::min(columns, map.depth());
  }
  int64_t groups(const HeadMap& map) const { return (map.heads + heads - 1) / heads; }
};

void scaleBy(DoubleMatrix& m, const std::vector<float>& rows, const std::vector<float>& cols) {
  for (int64_t i = 0; i < m.rows; ++i) {
    for (int64_t j = 0; j < m.cols; ++j) {
      if (!rows.empty()) m(i, j) *= static_cast<double>(rows[static_cast<size_t>(i)]);
      if (!cols.empty()) m(i, j) *= static_cast<double>(cols[static_cast<size_t>(j)]);
    }
  }
}

/// What is left when all chunks of a head are in: the other triangle, centring, gains.
void finishHead(const HeadMap& map, int64_t h, const std::vector<double>& sums, const std::vector<double>& directionSums, HeadGrams& out) {
  const int64_t k = map.width, r = static_cast<int64_t>(directionSums.size());
  const double d = static_cast<double>(map.depth());
  DoubleMatrix& g = out.gram[static_cast<size_t>(h)];
  DoubleMatrix* cross = out.cross.empty() ? nullptr : &out.cross[static_cast<size_t>(h)];
  mirrorBelow(g);
  if (map.isCentred) {  // (F - m 1^T)(F - m 1^T)^T = F F^T - d m m^T, m the row means
    for (int64_t i = 0; i < k; ++i) {
      const double sum = sums[static_cast<size_t>(i)];
      for (int64_t j = 0; j < k; ++j) g(i, j) -= sum * sums[static_cast<size_t>(j)] / d;
      for (int64_t a = 0; a < r; ++a) (*cross)(a, i) -= directionSums[static_cast<size_t>(a)] * sum / d;
      out.means[static_cast<size_t>(h * k + i)] = static_cast<float>(sum / d);
    }
  }
  const std::vector<float> none;
  const std::vector<float>& gain = map.headGain != nullptr ? *map.headGain : none;
  scaleBy(g, gain, gain);
  if (cross != nullptr) scaleBy(*cross, none, gain);
}

/// Head h's part of what is decoded, columns [first, first + count) of it.
void packChunk(const HeadMap& map, ConstMatrixView decoded, int64_t h, int64_t first, int64_t count, const float* gain, RowPanels& panels) {
  if (map.isOutput) {
    panels.packTransposed(decoded.colsFrom(h * map.width, map.width), gain);
  } else {
    panels.pack(decoded.colsFrom(first, count), gain);
  }
}
void packChunk(const HeadMap& map, ConstMatrixView decoded, int64_t h, int64_t first, int64_t count, const float*, BytePanels& panels) {
  if (map.isOutput) {
    panels.packTransposed(decoded.colsFrom(h * map.width, map.width));
  } else {
    panels.pack(decoded.colsFrom(first, count));
  }
}

/// Numbers of 16 bits as they are stored: exact byte by byte.
bool isForBytes(const HeadMap& map) {
  const DType type = map.linear->weight.dtype;
  const bool hasGain = map.modelGain != nullptr && !map.modelGain->empty();
  return MatrixUnit::isThere() && (type == DType::BF16 || type == DType::F16) && !map.linear->change && !hasGain;
}

/// By RowPanels or BytePanels; the latter know no gain of columns.
template <typename Panels>
HeadGrams gramsBy(const HeadMap& map, const Job& job, const Matrix* directions) {
  const int64_t k = map.width, d = map.depth(), chunks = (d + kColumns - 1) / kColumns;
  const int64_t r = directions != nullptr ? directions->rows() : 0;
  assert(directions == nullptr || directions->cols() == d);
  HeadGrams out;
  out.gram.resize(static_cast<size_t>(map.heads));
  if (directions != nullptr) out.cross.resize(static_cast<size_t>(map.heads));
  if (map.isCentred) out.means.assign(static_cast<size_t>(map.heads * k), 0.0F);
  std::vector<Panels> along;  // the directions' chunks, shared by the heads
  std::vector<double> directionSums(static_cast<size_t>(r), 0.0);
  if (r > 0) {
    for (int64_t c = 0; c < chunks; ++c) along.emplace_back(r);
    parallelFor(
        chunks,
        [&](int64_t c) {
          along[static_cast<size_t>(c)].pack(directions->view().colsFrom(c * kColumns, std::min(kColumns, d - c * kColumns)));
        },
        &job);
    for (const Panels& chunk : along) chunk.addRowSums(directionSums.data());
  }
  const auto addChunk = [&](int64_t h, const Panels& panels, int64_t chunk, std::vector<double>& sums) {
    if (map.isCentred) panels.addRowSums(sums.data());
    addGram(panels, out.gram[static_cast<size_t>(h)]);
    if (r > 0) addCross(along[static_cast<size_t>(chunk)], panels, out.cross[static_cast<size_t>(h)]);
  };
  const float* gain = map.modelGain != nullptr && !map.modelGain->empty() ? map.modelGain->data() : nullptr;
  const DecodePlan plan(map);
  parallelFor(
      plan.groups(map),
      [&](int64_t group) {
        const int64_t firstHead = group * plan.heads, heads = std::min(plan.heads, map.heads - firstHead);
        for (int64_t h = firstHead; h < firstHead + heads; ++h) {
          out.gram[static_cast<size_t>(h)] = DoubleMatrix(k, k);
          if (directions != nullptr) out.cross[static_cast<size_t>(h)] = DoubleMatrix(r, k);
        }
        std::vector<std::vector<double>> sums(static_cast<size_t>(heads), std::vector<double>(static_cast<size_t>(k), 0.0));
        Panels panels(k);
        Matrix memory(heads * k, plan.columns);
        for (int64_t at = 0; at < d; at += plan.columns) {
          job.checkpoint();
          const ConstMatrixView decoded = decodeChunk(map, firstHead, heads, at, std::min(plan.columns, d - at), memory.data());
          const int64_t end = std::min(at + plan.columns, d);
          for (int64_t first = at; first < end; first += kColumns) {
            const int64_t count = std::min(kColumns, end - first);
            for (int64_t h = 0; h < heads; ++h) {
              packChunk(map, decoded, h, first - at, count, gain != nullptr ? gain + first : nullptr, panels);
              addChunk(firstHead + h, panels, first / kColumns, sums[static_cast<size_t>(h)]);
            }
          }
        }
        for (int64_t h = 0; h < heads; ++h) finishHead(map, firstHead + h, sums[static_cast<size_t>(h)], directionSums, out);
      },
      &job);
  return out;
}

}  // namespace

HeadGrams headGrams(const HeadMap& map, const Job& job, const Matrix* directions) {
  return isForBytes(map) ? gramsBy<BytePanels>(map, job, directions) : gramsBy<RowPanels>(map, job, directions);
}

Matrix headRows(const HeadMap& map, int64_t head) {
  const int64_t k = map.width, d = map.depth();
  Matrix memory(k, d);
  const ConstMatrixView stored = decodeChunk(map, head, 1, 0, d, memory.data());
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
